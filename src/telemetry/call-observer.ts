/** Records every call in metrics, log and traces. */
import type { ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Tracer } from "@opentelemetry/api";
import type { Logger } from "pino";
import { KvError } from "../kv/errors.js";
import type { BoundMethod, CallInput, Protocol } from "../service/calls.js";
import type { Principal } from "../service/principal.js";
import type { CallObserver, CallRecord } from "../service/observer.js";
import type { CallCounts, CallMetrics } from "./call-metrics.js";
import { parseTraceParent } from "./trace-parent.js";
import { CallSpan } from "./tracing.js";

export interface CallObserverOptions {
  readonly metrics: CallMetrics;
  readonly log: Pick<Logger, "debug" | "error" | "isLevelEnabled">;
  /** Undefined: no spans. */
  readonly tracer: Tracer | undefined;
}

export class TelemetryObserver implements CallObserver {
  /** Calls that failed with an internal error. */
  faults = 0;

  constructor(private readonly options: CallObserverOptions) {}

  begin(method: BoundMethod, input: CallInput, startMs: number): CallRecord {
    const { metrics, tracer } = this.options;
    const counts = metrics.of(method, input.protocol);
    const span = tracer === undefined ? undefined : new CallSpan(tracer, method, input);
    return new Call(this.options, input, startMs, counts, span);
  }

  transferred(method: BoundMethod, protocol: Protocol, receivedBytes: number, sentBytes: number): void {
    const counts = this.options.metrics.of(method, protocol);
    counts.receivedBytes += receivedBytes;
    counts.sentBytes += sentBytes;
  }

  fault(error: unknown, method: BoundMethod, input: CallInput): void {
    this.faults++;
    this.options.log.error(
      {
        err: withoutKey(error),
        method: method.path.slice(1),
        door: input.protocol,
        request_id: input.header("x-request-id"),
        trace_id: parseTraceParent(input.header("traceparent"))?.traceId,
      },
      "a call failed with an internal error",
    );
  }
}

/** Removes the key from a store's error: the logger prints every field of an error. */
function withoutKey(error: unknown): unknown {
  if (!(error instanceof KvError) || error.key === undefined) return error;
  const { kind, message, bucket, revision, cause, stack } = error;
  return Object.assign(new KvError(kind, message, { bucket, revision, cause }), { stack });
}

class Call implements CallRecord {
  caller: Principal | undefined;
  readonly within: CallRecord["within"];

  constructor(
    private readonly options: CallObserverOptions,
    private readonly input: CallInput,
    private readonly startMs: number,
    private readonly counts: CallCounts,
    private readonly span: CallSpan | undefined,
  ) {
    this.within = span === undefined ? undefined : (run) => span.run(run);
    counts.begin();
  }

  end(error: ConnectError | undefined): void {
    const durationMs = performance.now() - this.startMs;
    this.counts.end(error?.code ?? 0, durationMs);
    this.span?.end(error);
    if (this.options.log.isLevelEnabled("debug")) this.log(error, durationMs);
  }

  /** Logs caller, method and result. Never logs keys, values or secrets. */
  private log(error: ConnectError | undefined, durationMs: number): void {
    const { input } = this;
    this.options.log.debug(
      {
        method: this.counts.labels.method,
        door: input.protocol,
        code: error === undefined ? "ok" : codeToString(error.code),
        duration_ms: Math.round(durationMs * 1_000) / 1_000,
        request_id: input.header("x-request-id"),
        trace_id: this.span?.traceId ?? parseTraceParent(input.header("traceparent"))?.traceId,
        caller: this.caller?.id,
      },
      "call",
    );
  }
}

/**
 * Call spans through the OpenTelemetry API, if the host program has registered an SDK; otherwise free of cost.
 * Attributes: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/
 */
import {
  type Context,
  context,
  createTraceState,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { BoundMethod, CallInput } from "../service/calls.js";
import { parseTraceParent } from "./trace-parent.js";

/** The tracer; undefined if no SDK is registered. Called once, at startup. */
export function findTracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  const hasSdk =
    !(provider instanceof ProxyTracerProvider) ||
    provider.getDelegate() !== new ProxyTracerProvider().getDelegate();
  return hasSdk ? provider.getTracer("ironflow-kv") : undefined;
}

/** A call's span. */
export class CallSpan {
  readonly traceId: string;
  private readonly span: Span;
  private readonly context: Context;

  constructor(tracer: Tracer, method: BoundMethod, input: Pick<CallInput, "protocol" | "header">) {
    const parent = parentOf(input);
    const attributes = {
      "rpc.system": input.protocol === "connect" ? "connect_rpc" : "grpc",
      "rpc.service": method.service.typeName,
      "rpc.method": method.desc.name,
      "ironflow.door": input.protocol,
    };
    // The name is `package.Service/Method`.
    this.span = tracer.startSpan(method.path.slice(1), { kind: SpanKind.SERVER, attributes }, parent);
    this.context = trace.setSpan(parent, this.span);
    this.traceId = this.span.spanContext().traceId;
  }

  /** Runs work within the span: spans that it starts become children. */
  run<Result>(work: () => Result): Result {
    return context.with(this.context, work);
  }

  end(error: ConnectError | undefined): void {
    this.span.setAttribute("rpc.grpc.status_code", error?.code ?? 0);
    if (error !== undefined && isOurFault(error.code)) {
      this.span.setStatus({ code: SpanStatusCode.ERROR, message: error.rawMessage });
    }
    this.span.end();
  }
}

/** Whether the code marks a server span as failed: errors caused by the client do not. */
function isOurFault(code: Code): boolean {
  switch (code) {
    case Code.Unknown:
    case Code.DeadlineExceeded:
    case Code.Unimplemented:
    case Code.Internal:
    case Code.Unavailable:
    case Code.DataLoss:
      return true;
    default:
      return false;
  }
}

function parentOf(input: Pick<CallInput, "header">): Context {
  const parent = parseTraceParent(input.header("traceparent"));
  if (parent === undefined) return ROOT_CONTEXT;
  const state = input.header("tracestate");
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId: parent.traceId,
    spanId: parent.parentId,
    traceFlags: parent.flags & 1,
    isRemote: true,
    ...(state === undefined ? {} : { traceState: createTraceState(state) }),
  });
}

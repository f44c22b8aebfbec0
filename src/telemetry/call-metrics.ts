/** Call metrics by method, protocol and code. They are plain numbers, so a call costs only a few additions. */
import { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Registry } from "prom-client";
import type { BoundMethod, Protocol } from "../service/calls.js";
import { addMetric, type Sample } from "./metric.js";

/** The upper bounds of the latency histogram's buckets. */
const BOUNDS_SECONDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
/** By number: Connect uses gRPC's codes; 0 is success. */
const CODE_NAMES: string[] = ["ok"];
for (const code of Object.values(Code)) if (typeof code === "number") CODE_NAMES[code] = codeToString(code);

/** The metrics of one method over one protocol. */
export class CallCounts {
  private readonly byCode = new Float64Array(CODE_NAMES.length);
  /** Not cumulative; the last one counts durations above all bounds. */
  private readonly byDuration = new Float64Array(BOUNDS_SECONDS.length + 1);
  private seconds = 0;
  private inFlight = 0;
  receivedBytes = 0;
  sentBytes = 0;

  constructor(
    readonly labels: { readonly method: string; readonly door: Protocol },
    /** False for streams, whose duration is not a latency. */
    private readonly isTimed: boolean,
  ) {}

  begin(): void {
    this.inFlight++;
  }

  end(code: number, durationMs: number): void {
    this.inFlight--;
    this.byCode[code] = (this.byCode[code] ?? 0) + 1;
    if (!this.isTimed) return;
    const seconds = durationMs / 1_000;
    this.seconds += seconds;
    let index = 0;
    while (index < BOUNDS_SECONDS.length && seconds > (BOUNDS_SECONDS[index] ?? Infinity)) index++;
    this.byDuration[index] = (this.byDuration[index] ?? 0) + 1;
  }

  codes(): Sample[] {
    const samples: Sample[] = [];
    for (const [code, value] of this.byCode.entries()) {
      if (value > 0) samples.push({ labels: { ...this.labels, code: CODE_NAMES[code] ?? "" }, value });
    }
    return samples;
  }

  running(): Sample {
    return { labels: this.labels, value: this.inFlight };
  }

  durations(name: string): Sample[] {
    if (!this.isTimed) return [];
    const samples: Sample[] = [];
    let count = 0;
    for (const [index, calls] of this.byDuration.entries()) {
      count += calls;
      const le = BOUNDS_SECONDS[index] ?? "+Inf";
      samples.push({ metricName: `${name}_bucket`, labels: { ...this.labels, le }, value: count });
    }
    samples.push({ metricName: `${name}_sum`, labels: this.labels, value: this.seconds });
    samples.push({ metricName: `${name}_count`, labels: this.labels, value: count });
    return samples;
  }
}

export class CallMetrics {
  private readonly counts = new Map<BoundMethod, Partial<Record<Protocol, CallCounts>>>();

  constructor(registry: Registry) {
    addMetric(registry, {
      name: "ironflow_calls_total",
      help: "Finished calls, by the code sent to the client. Streams count when they end.",
      type: "counter",
      read: () => this.all((counts) => counts.codes()),
    });
    addMetric(registry, {
      name: "ironflow_calls_in_flight",
      help: "Calls in progress, including open streams.",
      type: "gauge",
      read: () => this.all((counts) => [counts.running()]),
    });
    addMetric(registry, {
      name: "ironflow_call_duration_seconds",
      help: "Duration of unary calls, from the complete request to the response.",
      type: "histogram",
      read: () => this.all((counts) => counts.durations("ironflow_call_duration_seconds")),
    });
    addMetric(registry, {
      name: "ironflow_received_bytes_total",
      help: "Bytes of request bodies, as received (compressed).",
      type: "counter",
      read: () => this.all(({ labels, receivedBytes }) => [{ labels, value: receivedBytes }]),
    });
    addMetric(registry, {
      name: "ironflow_sent_bytes_total",
      help: "Bytes of response bodies, as sent (compressed).",
      type: "counter",
      read: () => this.all(({ labels, sentBytes }) => [{ labels, value: sentBytes }]),
    });
  }

  of(method: BoundMethod, protocol: Protocol): CallCounts {
    return this.counts.get(method)?.[protocol] ?? this.add(method, protocol);
  }

  private add(method: BoundMethod, door: Protocol): CallCounts {
    const labels = { method: method.path.slice(1), door };
    const counts = new CallCounts(labels, method.desc.methodKind === "unary");
    this.counts.set(method, { ...this.counts.get(method), [door]: counts });
    return counts;
  }

  private all(read: (counts: CallCounts) => Sample[]): Sample[] {
    return [...this.counts.values()].flatMap((byDoor) => Object.values(byDoor).flatMap(read));
  }
}

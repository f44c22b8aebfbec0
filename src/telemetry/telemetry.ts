/** Assembles the telemetry of a service. */
import cluster from "node:cluster";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { CallMetrics } from "./call-metrics.js";
import { TelemetryObserver } from "./call-observer.js";
import { processMetrics } from "./process-metrics.js";
import { addServiceMetrics, type ServiceState } from "./service-metrics.js";
import { findTracer } from "./tracing.js";
import { shareMetrics } from "./worker-metrics.js";

export interface Telemetry {
  /** For the pipeline and the protocols. */
  readonly observer: TelemetryObserver;
  /** The metrics in Prometheus format, aggregated over all workers. */
  metricsText(): Promise<string>;
  /** Adds the metrics besides those of calls. `perBucket`: also those of each bucket. */
  addServiceMetrics(state: Omit<ServiceState, "faults">, perBucket: boolean): void;
}

export interface TelemetryOptions {
  readonly log: Logger;
  /** Whether this process is one of several that `workers.ts` has started. */
  readonly isWorker: boolean;
}

/** Creates the telemetry. Spans are created only if an OpenTelemetry SDK was registered before. */
export function createTelemetry({ log, isWorker }: TelemetryOptions): Telemetry {
  const registry = new Registry();
  const registries = [registry, processMetrics()];
  const observer = new TelemetryObserver({ metrics: new CallMetrics(registry), log, tracer: findTracer() });
  return {
    observer,
    metricsText:
      isWorker && cluster.worker !== undefined
        ? shareMetrics(cluster.worker, registries)
        : async () => (await Promise.all(registries.map((one) => one.metrics()))).join("\n"),
    addServiceMetrics: (state, perBucket) =>
      addServiceMetrics(registry, { ...state, faults: () => observer.faults }, perBucket),
  };
}

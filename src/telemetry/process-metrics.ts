/** Process metrics: memory, CPU, garbage collection, event loop delay. Shared by all services in the process. */
import { collectDefaultMetrics, Registry } from "prom-client";

let registry: Registry | undefined;

/** The registry of process metrics. The first call starts the library's collectors, which can't be stopped. */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
  }
  return registry;
}

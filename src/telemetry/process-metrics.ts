/** What is known of the process: memory, CPU, garbage collection, the delay of the event loop. Once for all services in it. */
import { collectDefaultMetrics, Registry } from "prom-client";

let registry: Registry | undefined;

/** The registry of process metrics. The first call begins to measure; what the library starts then can't be stopped. */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
  }
  return registry;
}

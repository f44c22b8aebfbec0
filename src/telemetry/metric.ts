/**
 * How metrics are shown: each is read when somebody asks for it. What is counted per call is plain numbers elsewhere; the library's own
 * counters look their labels up in a table at every step, which costs more than the rest of the pipeline.
 */
import type { Registry } from "prom-client";

export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Where it is not the metric's own name: `..._bucket` of a histogram. */
  readonly metricName?: string;
}

export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** How several workers' values become one. Default: their sum. */
  readonly aggregator?: "sum" | "max" | "min";
  read(): readonly Sample[] | Promise<readonly Sample[]>;
}

/** Adds a metric to what the registry shows. */
export function addMetric(registry: Registry, definition: MetricDefinition): void {
  const { name, help, type, aggregator = "sum" } = definition;
  const metric = {
    name,
    get: async () => ({ name, help, type, aggregator, values: await definition.read() }),
  };
  // The registry asks no more of a metric than these two; the library's type names one of its own classes.
  registry.registerMetric(metric as unknown as Parameters<Registry["registerMetric"]>[0]);
}

/** The one sample of a metric without labels. */
export function single(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}

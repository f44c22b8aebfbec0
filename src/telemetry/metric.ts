/**
 * Metrics that are read on scrape. Calls update plain numbers instead of the library's counters, which look up labels on every increment
 * and would cost more than the rest of the pipeline.
 */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** If it differs from the metric's name: `..._bucket` of a histogram. */
  readonly metricName?: string;
}

export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** How to aggregate the values of several workers. Default: sum. */
  readonly aggregator?: "sum" | "max" | "min";
  read(): readonly Sample[] | Promise<readonly Sample[]>;
}

const CLASSES = { counter: Counter, gauge: Gauge, histogram: Histogram };

/** Registers a metric. */
export function addMetric(registry: Registry, definition: MetricDefinition): void {
  const { name, help, type, aggregator = "sum" } = definition;
  const get = async (): Promise<object> => ({
    ...{ name, help, type, aggregator },
    values: await definition.read(),
  });
  // The registry uses only the name and these two functions of the library's object.
  const metric = new CLASSES[type]({ name, help, aggregator, registers: [] });
  registry.registerMetric(Object.assign(metric, { get, getForPromString: get }));
}

/** The one sample of a metric without labels. */
export function single(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}

export function gauge(name: string, help: string, value: () => number): MetricDefinition {
  return { name, help, type: "gauge", read: () => single(value()) };
}

export function counter(name: string, help: string, value: () => number): MetricDefinition {
  return { name, help, type: "counter", read: () => single(value()) };
}

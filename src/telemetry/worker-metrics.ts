/**
 * Aggregates the metrics of all workers. The scraped worker sends a request to the primary process, where prom-client collects the metrics
 * of every worker and aggregates them. This module connects the worker to the primary.
 */
import cluster from "node:cluster";
import type { Worker } from "node:cluster";
import { AggregatorRegistry, type Registry } from "prom-client";

interface MetricsRequest {
  readonly ironflowMetrics: "request";
  readonly id: number;
}

interface MetricsResponse {
  readonly ironflowMetrics: "response";
  readonly id: number;
  /** Undefined: a worker did not respond. */
  readonly text: string | undefined;
}

/** In a worker: registers its registries with the primary. Returns a function that requests the aggregated text. */
export function shareMetrics(worker: Worker, registries: readonly Registry[]): () => Promise<string> {
  AggregatorRegistry.setRegistries([...registries]);
  // The constructor installs the handler that responds to the primary.
  new AggregatorRegistry();
  const pending = new Map<number, (response: MetricsResponse) => void>();
  let last = 0;
  worker.on("message", (message: unknown) => {
    if (!isMetricsMessage<MetricsResponse>(message, "response")) return;
    pending.get(message.id)?.(message);
    pending.delete(message.id);
  });
  return async () => {
    const id = ++last;
    const response = await new Promise<MetricsResponse>((resolve) => {
      pending.set(id, resolve);
      worker.send({ ironflowMetrics: "request", id } satisfies MetricsRequest);
    });
    if (response.text === undefined) throw new Error("a worker did not respond in time");
    return response.text;
  };
}

/** In the primary process: responds to the workers' requests. */
export function serveWorkerMetrics(): void {
  const aggregator = new AggregatorRegistry();
  cluster.on("message", (worker, message: unknown) => {
    if (!isMetricsMessage<MetricsRequest>(message, "request")) return;
    const { id } = message;
    void aggregator
      .clusterMetrics()
      .catch(() => undefined)
      .then((text) => {
        if (worker.isConnected())
          worker.send({ ironflowMetrics: "response", id, text } satisfies MetricsResponse);
      });
  });
}

function isMetricsMessage<Kind extends MetricsRequest | MetricsResponse>(
  message: unknown,
  kind: Kind["ironflowMetrics"],
): message is Kind {
  return (
    typeof message === "object" && message !== null && (message as Partial<Kind>).ironflowMetrics === kind
  );
}

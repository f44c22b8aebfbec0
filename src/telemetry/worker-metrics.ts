/**
 * Aggregates the metrics of all workers. The scraped worker asks the primary process, which collects from every worker and aggregates. The
 * library does the latter; this module connects the worker to the primary.
 */
import cluster from "node:cluster";
import type { Worker } from "node:cluster";
import { AggregatorRegistry, type Registry } from "prom-client";

interface Question {
  readonly ironflowMetrics: "question";
  readonly id: number;
}

interface Answer {
  readonly ironflowMetrics: "answer";
  readonly id: number;
  /** Undefined: a worker did not answer. */
  readonly text: string | undefined;
}

/** In a worker: registers its registries with the primary. Returns a function that requests the aggregated text. */
export function shareMetrics(worker: Worker, registries: readonly Registry[]): () => Promise<string> {
  AggregatorRegistry.setRegistries([...registries]);
  // The constructor installs the handler that responds to the primary.
  new AggregatorRegistry();
  const waiting = new Map<number, (answer: Answer) => void>();
  let last = 0;
  worker.on("message", (message: unknown) => {
    if (!isOurs<Answer>(message, "answer")) return;
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  return async () => {
    const id = ++last;
    const answer = await new Promise<Answer>((resolve) => {
      waiting.set(id, resolve);
      worker.send({ ironflowMetrics: "question", id } satisfies Question);
    });
    if (answer.text === undefined) throw new Error("a worker did not answer in time");
    return answer.text;
  };
}

/** In the primary process: responds to the workers. */
export function answerWorkers(): void {
  const aggregator = new AggregatorRegistry();
  cluster.on("message", (worker, message: unknown) => {
    if (!isOurs<Question>(message, "question")) return;
    const { id } = message;
    void aggregator
      .clusterMetrics()
      .catch(() => undefined)
      .then((text) => {
        if (worker.isConnected()) worker.send({ ironflowMetrics: "answer", id, text } satisfies Answer);
      });
  });
}

function isOurs<Kind extends Question | Answer>(
  message: unknown,
  kind: Kind["ironflowMetrics"],
): message is Kind {
  return (
    typeof message === "object" && message !== null && (message as Partial<Kind>).ironflowMetrics === kind
  );
}

/**
 * Metrics of several workers as those of one service: whichever worker is asked, it asks the first process, which asks every worker and
 * adds up what they say. The library does the latter; the way from a worker to the first process is ours.
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

/** In a worker: shows its registries to the first process. Returns what asks for the text of all. */
export function shareMetrics(worker: Worker, registries: readonly Registry[]): () => Promise<string> {
  AggregatorRegistry.setRegistries([...registries]);
  // Made for what its making does: it answers the first process.
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

/** In the first process: answers the workers. */
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

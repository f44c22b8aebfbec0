/** Tells the workers why the embedded nats-server accepts no writes: only the primary process, which runs it, sees that. */
import cluster, { type Worker } from "node:cluster";

interface StorageMessage {
  readonly ironflowStorage: { readonly problem: string | undefined };
}

/** In the primary process: tells all workers. */
export function shareStorageProblem(problem: string | undefined): void {
  for (const worker of Object.values(cluster.workers ?? {}))
    if (worker !== undefined) tellStorageProblem(worker, problem);
}

/** In the primary process: tells one worker, such as a new one. */
export function tellStorageProblem(worker: Worker, problem: string | undefined): void {
  if (worker.isConnected()) worker.send({ ironflowStorage: { problem } } satisfies StorageMessage);
}

/** In a worker: returns a function that gives what the primary told last. */
export function followStorageProblem(worker: Worker): () => string | undefined {
  let problem: string | undefined;
  worker.on("message", (message: unknown) => {
    if (isStorageMessage(message)) problem = message.ironflowStorage.problem;
  });
  return () => problem;
}

function isStorageMessage(message: unknown): message is StorageMessage {
  return typeof message === "object" && message !== null && "ironflowStorage" in message;
}

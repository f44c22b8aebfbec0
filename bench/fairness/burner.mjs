// An unrelated process that uses a given amount of CPU: what the fairness benchmark compares a load with.
import { isMainThread, parentPort, Worker } from "node:worker_threads";

/** One thread computes for its share of each period, and sleeps for the rest. */
const PERIOD_MS = 20;
const THREADS = 2;

if (isMainThread) {
  const workers = Array.from({ length: THREADS }, () => new Worker(new URL(import.meta.url)));
  process.on("message", (cores) => {
    for (const worker of workers) worker.postMessage(Math.min(1, cores / THREADS));
  });
  process.send("ready");
} else {
  let share = 0;
  parentPort.on("message", (value) => {
    share = value;
  });
  for (;;) {
    const startMs = performance.now();
    while (performance.now() - startMs < share * PERIOD_MS);
    await new Promise((resolve) => setTimeout(resolve, (1 - share) * PERIOD_MS));
  }
}

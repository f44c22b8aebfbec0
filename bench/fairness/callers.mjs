// The 16 callers of the fairness benchmark, in a process of their own: each puts and gets a key of the bucket "quiet".
//
// Paced, each caller starts a call every so many milliseconds. A call that has to start late, because the one before it took longer than
// that, counts from when it was due. Not paced, each call starts when the one before it ends.
import { call } from "./http.mjs";
import { CALLERS } from "./buckets.mjs";

const port = Number(process.argv[2]);

async function runCaller(index, { durationMs, intervalMs }, times) {
  const startMs = performance.now() + (index / CALLERS) * intervalMs;
  for (let count = 0; ; count++) {
    const isPut = count % 2 === 0;
    const dueMs = startMs + count * intervalMs;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const sentMs = performance.now();
    if (sentMs - startMs >= durationMs) return;
    const body = isPut ? Buffer.from(String(count)) : undefined;
    await call(port, isPut ? "PUT" : "GET", `/api/v1/kv/buckets/quiet/keys/w${index}`, body);
    const isLate = intervalMs > 0 && waitMs < 0;
    times[isPut ? "put" : "get"].push(performance.now() - (isLate ? dueMs : sentMs));
  }
}

const percentile = (sorted, share) => sorted[Math.floor(sorted.length * share)] ?? NaN;

process.on("message", async (round) => {
  const times = { put: [], get: [] };
  try {
    await Promise.all(Array.from({ length: CALLERS }, (_, index) => runCaller(index, round, times)));
  } catch (error) {
    process.send({ failure: String(error) });
    return;
  }
  const figures = { calls: times.put.length + times.get.length };
  for (const [operation, values] of Object.entries(times)) {
    values.sort((left, right) => left - right);
    figures[`${operation}50`] = percentile(values, 0.5);
    figures[`${operation}99`] = percentile(values, 0.99);
  }
  process.send(figures);
});
process.send("ready");

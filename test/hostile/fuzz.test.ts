/**
 * A fuzzer: mutated requests and noise for every door, on real connections, against the built service. It must not end, log no error of
 * its own, answer others meanwhile, and give its memory back. `npm run test:fuzz -- 200000 7` runs so many cases from a seed.
 */
import { connect } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Input, makeInput } from "./inputs.js";
import { Random } from "../../packages/http2/test/fuzz/random.js";
import { startTarget, type Target } from "./target.js";

const CASES = Number(process.env.FUZZ_CASES ?? 1_500);
const SEED = Number(process.env.FUZZ_SEED ?? 1);
const AT_ONCE = 32;
/** How long a connection is left open for an answer when it is not closed. */
const PATIENCE_MS = 100;
const MOMENT_MS = 10;
const CANARY = "/api/v1/kv/buckets/canary/keys/k";
const MEGABYTE = 1_048_576;

let target: Target;
beforeAll(async () => {
  target = await startTarget({ "idle-timeout-ms": "5000", "request-timeout-ms": "2000" });
  for (const name of ["fuzz", "canary"]) {
    await fetch(`${target.url}/api/v1/kv/buckets`, { method: "POST", body: JSON.stringify({ name }) });
  }
  await fetch(target.url + CANARY, { method: "PUT", body: "alive" });
});
afterAll(() => target.remove());

it(`survives ${CASES} cases from the seed ${SEED}`, { timeout: 60_000 + CASES * 20 }, async () => {
  const started = performance.now();
  await run(0, Math.min(CASES, 1_000));
  const before = await target.memory();
  await run(1_000, CASES);
  await expectAlive("the last");
  const seconds = (performance.now() - started) / 1_000;
  const after = await target.memory();
  const size = ({ rss, heapUsed, external }: NodeJS.MemoryUsage): string =>
    `${mebibytes(rss)} resident, ${mebibytes(heapUsed)} heap, ${mebibytes(external)} external`;
  console.log(
    `${CASES} cases in ${seconds.toFixed(0)} s, ${target.ending === undefined ? 0 : 1} crashes, ${target.errors.length} errors logged; ` +
      `memory in MiB before: ${size(before)}; after: ${size(after)}`,
  );
  expect(target.errors).toEqual([]);
  expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(64 * MEGABYTE);
});

/** Runs the cases of these numbers, some at once. */
async function run(from: number, to: number): Promise<void> {
  let next = from;
  const worker = async (): Promise<void> => {
    while (next < to) {
      const index = next++;
      if (index % 500 === 0) await expectAlive(`${index}`);
      if (index % 10_000 === 0 && index > 0) console.log(`${index} of ${CASES} cases`);
      const random = new Random(SEED * 1_000_003 + index);
      await send(makeInput(random), random);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Writes an input to a connection of its own, in one or more pieces, and lets the server answer or close. */
async function send({ bytes }: Input, random: Random): Promise<void> {
  const socket = connect(target.port, "127.0.0.1");
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  socket.on("error", () => undefined);
  // Some read nothing of what comes.
  const answered = random.chance(0.1) ? closed : new Promise((resolve) => socket.once("data", resolve));
  const cut = random.chance(0.3) ? random.below(bytes.length) : bytes.length;
  socket.write(bytes.subarray(0, cut));
  if (cut < bytes.length) {
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(bytes.subarray(cut));
  }
  const patience = setTimeout(() => socket.destroy(), PATIENCE_MS);
  const manners = random.below(10);
  if (manners === 0) socket.resetAndDestroy();
  else if (manners === 1) socket.end();
  else await moment(answered, closed).then(() => socket.end());
  await closed;
  clearTimeout(patience);
}

/** HTTP/2 greets before it answers: what comes within a moment of the first bytes counts as the answer. */
async function moment(answered: Promise<unknown>, closed: Promise<void>): Promise<void> {
  await Promise.race([answered, closed]);
  await Promise.race([new Promise((resolve) => setTimeout(resolve, MOMENT_MS)), closed]);
}

async function expectAlive(when: string): Promise<void> {
  expect(target.ending, `ended before case ${when} of the seed ${SEED}`).toBeUndefined();
  const answer = await fetch(target.url + CANARY);
  expect(answer.status, `before case ${when}`).toBe(200);
  expect(((await answer.json()) as { value: string }).value).toBe(Buffer.from("alive").toString("base64"));
}

function mebibytes(bytes: number): string {
  return (bytes / MEGABYTE).toFixed(0);
}

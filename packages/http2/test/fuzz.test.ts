/**
 * Two fuzzers. The differential one sends valid frames, and sometimes one violation, to our server and to Node's: both must answer alike, and
 * errors must be those of RFC 9113. The frame fuzzer mutates them: our server must not fail, and must send only what HTTP/2 allows.
 *
 * Each case follows from a seed and its number. A failed one is minimised and written to test/corpus, which is replayed here.
 */
import { afterAll, describe, expect, it } from "vitest";
import { checkCase, checkFrames, type Targets } from "./fuzz/check.js";
import { minimise, readCorpus, store } from "./fuzz/corpus.js";
import { makeCase, mutate } from "./fuzz/generator.js";
import { Random } from "./fuzz/random.js";
import { startNodes, startOurs } from "./fuzz/servers.js";
import { VIOLATIONS } from "./fuzz/violations.js";

const MINUTES = Number(process.env.FUZZ_MINUTES ?? 0);
const SEED = Number(process.env.FUZZ_SEED ?? 1);
/** Cases of a normal test run. */
const CASES = 300;
const FAILURES_MAX = 10;

const targets: Targets = { ours: startOurs(), nodes: startNodes() };
afterAll(() => {
  targets.ours.stop();
  targets.nodes.stop();
});

describe("the corpus", () => {
  it.each(readCorpus().map(({ name, stored }) => [name, stored] as const))("%s", async (_name, stored) => {
    const frames = stored.frames.map((hex) => Buffer.from(hex, "hex"));
    const { expected } = stored;
    if (expected === undefined) {
      expect(await checkFrames(targets, frames)).toBeUndefined();
      return;
    }
    const violation = VIOLATIONS.find(({ name }) => name === expected.violation);
    expect(violation?.name).toBe(expected.violation);
    expect(await checkCase(targets, { frames, complete: expected.complete, violation })).toBeUndefined();
  });
});

it(`new cases from the seed ${SEED}`, { timeout: 60_000 + MINUTES * 90_000 }, async () => {
  const endMs = performance.now() + MINUTES * 60_000;
  const failures: string[] = [];
  let cases = 0;
  while ((MINUTES > 0 ? performance.now() < endMs : cases < CASES) && failures.length < FAILURES_MAX) {
    const index = cases++;
    const random = new Random(SEED * 1_000_003 + index);
    const failure = await (index % 2 === 0 ? differential(random, index) : mutated(random, index));
    if (failure !== undefined) failures.push(`case ${index}: ${failure}`);
  }
  console.log(`${cases} cases, ${failures.length} failures, seed ${SEED}`);
  expect(failures).toEqual([]);
});

async function differential(random: Random, index: number): Promise<string | undefined> {
  const one = makeCase(random);
  const finding = await checkCase(targets, one);
  if (finding === undefined) return undefined;
  const sameKind = finding.slice(0, 20);
  const fails = async (frames: readonly Buffer[]): Promise<boolean> =>
    (await checkCase(targets, { ...one, frames }))?.startsWith(sameKind) === true;
  const path = store(`differential-${SEED}-${index}`, {
    finding,
    seed: SEED,
    index,
    frames: (await minimise(one.frames, fails, false)).map((frame) => frame.toString("hex")),
    expected: {
      complete: one.complete,
      ...(one.violation === undefined ? {} : { violation: one.violation.name }),
    },
  });
  return `${finding} ${path}`;
}

async function mutated(random: Random, index: number): Promise<string | undefined> {
  const frames = mutate(random, makeCase(random).frames);
  const finding = await checkFrames(targets, frames);
  if (finding === undefined) return undefined;
  const fails = async (some: readonly Buffer[]): Promise<boolean> =>
    (await checkFrames(targets, some)) !== undefined;
  const path = store(`frames-${SEED}-${index}`, {
    finding,
    seed: SEED,
    index,
    frames: (await minimise(frames, fails, true)).map((frame) => frame.toString("hex")),
  });
  return `${finding} ${path}`;
}

/** Random writes by several writers and random watches opened among them: each shows what a model of the bucket says. */
import fc from "fast-check";
import { expect } from "vitest";
import type { WatchEvent, WatchOptions } from "../../src/kv/watch.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { TestBucket } from "./watch-bucket.js";
import { compare, type Watched, type Written } from "./watch-model.js";
import { line, scope } from "./watching.js";
import { IS_EXTENDED } from "../support/extended.js";
import { newBucketName } from "./store-contract.js";
import { watchTest } from "./watch-test.js";

const RUNS = IS_EXTENDED ? 300 : 12;
const KEYS = ["a", "b", "user.1", "user.2", "user.1.name", "user-7", "x=y", "ü.1"];
const FILTERS = ["a", "user.*", "user.>", "user-*", "*.1", "*", ">", "nothing.*", "ü.1"];

const it = watchTest()
  // Small bounds, so that catching up meets them.
  .extend("hubs", ({ hubsWith }) => hubsWith({ watchQueueEventsMax: 400 }))
  /** Opens a watch and reads it until it says that nothing is missing up to the last revision. */
  .extend(
    "watchAll",
    ({ hubs }) =>
      async (
        bucket: TestBucket,
        opening: Opening,
        acknowledged: { readonly revision: bigint; readonly clock: number },
        finished: Promise<bigint>,
      ): Promise<Watched> => {
        const revisionBefore = acknowledged.revision;
        const start =
          typeof opening.start === "number"
            ? { revision: BigInt(Math.max(1, Math.min(opening.start, Number(revisionBefore) + 1))) }
            : opening.start;
        const options: WatchOptions = { ...opening, start, progressIntervalMs: 100 };
        const watcher = await hubs.watch(bucket.name, options, scope());
        const placedAt = acknowledged.clock;
        let readUpTo: bigint | undefined;
        void finished.then((revision) => (readUpTo = revision));
        const events: WatchEvent[] = [];
        // A watch may come to the last revision, and say so, before its catch-up knows that this is the end.
        let isCaughtUp = start === "now";
        for await (const event of batches(watcher)) {
          events.push(event);
          if (event.type === "snapshot_end") isCaughtUp = true;
          const isComplete =
            event.type === "progress" && readUpTo !== undefined && event.revision >= readUpTo;
          if (isCaughtUp && isComplete) break;
        }
        return { options, events, revisionBefore, placedAt, readUpTo: readUpTo ?? 0n };
      },
  );

interface Write {
  readonly key: string;
  readonly operation: "put" | "delete" | "purge";
}

interface Opening {
  /** After how many writes. */
  readonly after: number;
  readonly start: "snapshot" | "now" | "history" | number;
  readonly filters: readonly string[];
  readonly ignoreDeletes: boolean;
  readonly keysOnly: boolean;
  readonly previous: boolean;
}

const aWrite: fc.Arbitrary<Write> = fc.record({
  key: fc.constantFrom(...KEYS),
  operation: fc.oneof(
    { weight: 8, arbitrary: fc.constant("put" as const) },
    { weight: 2, arbitrary: fc.constant("delete" as const) },
    { weight: 1, arbitrary: fc.constant("purge" as const) },
  ),
});

const anOpening: fc.Arbitrary<Opening> = fc.record({
  after: fc.nat(300),
  start: fc.oneof(fc.constantFrom("snapshot" as const, "now" as const, "history" as const), fc.nat(300)),
  filters: fc.uniqueArray(fc.constantFrom(...FILTERS), { maxLength: 3 }),
  ignoreDeletes: fc.boolean(),
  keysOnly: fc.boolean(),
  previous: fc.boolean(),
});

const aRun = fc.record({
  history: fc.constantFrom(1, 2, 64),
  writers: fc.array(fc.array(aWrite, { minLength: 20, maxLength: 80 }), { minLength: 1, maxLength: 4 }),
  openings: fc.array(anOpening, { minLength: 5, maxLength: 25 }),
});

it(`holds in ${RUNS} runs`, { timeout: 600_000 }, async ({ connection, watchAll }) => {
  await fc.assert(
    fc.asyncProperty(aRun, async (run) => {
      const bucket = await TestBucket.create(connection, newBucketName(), { history: run.history });
      const written: Written[] = [];
      const acknowledged = { revision: 0n, clock: 0 };
      const opened: Promise<Watched>[] = [];
      let finish: (revision: bigint) => void = () => undefined;
      const finished = new Promise<bigint>((resolve) => (finish = resolve));
      const openings = [...run.openings];
      const openDue = (): void => {
        for (const opening of openings.splice(0)) {
          if (opening.after > written.length) openings.push(opening);
          else opened.push(watchAll(bucket, opening, acknowledged, finished));
        }
      };
      openDue();
      await Promise.all(
        run.writers.map(async (writes, writer) => {
          for (const [index, { key, operation }] of writes.entries()) {
            const value = operation === "put" ? `${writer}-${index}` : "";
            const begunAt = ++acknowledged.clock;
            const revision = await (operation === "put" ? bucket.put(key, value) : bucket[operation](key));
            written.push({ revision, key, operation, value, begunAt });
            if (revision > acknowledged.revision) acknowledged.revision = revision;
            openDue();
          }
        }),
      );
      finish(acknowledged.revision);
      written.sort((left, right) => Number(left.revision - right.revision));
      for (const watched of await Promise.all(opened)) {
        const findings = compare(written, watched, run.history);
        if (findings.missed.length > 0) {
          const { options, events, placedAt, readUpTo, revisionBefore } = watched;
          console.log(
            run.history,
            options,
            { placedAt, readUpTo, revisionBefore },
            events.map(line).join("\n"),
          );
          console.log(written.map((w) => `${w.operation} ${w.key} @${w.revision}`).join("\n"));
        }
        expect(findings).toEqual({
          missed: [],
          doubled: [],
          reordered: [],
          wrong: [],
        });
      }
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
});

/** Both ways of reading at once: one by one, and all that is there. */
async function* batches(watcher: Watcher): AsyncGenerator<WatchEvent> {
  for await (const event of watcher) {
    yield event;
    for (let next = watcher.poll(); next !== undefined; next = watcher.poll()) yield next;
  }
}

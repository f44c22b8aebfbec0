/** What a list shows, and a count counts, of a tree of keys: what the filters match, in byte order, as it was when it began. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchesAny, parseFilters } from "../../src/kv/filter.js";
import { escapeKey } from "../../src/kv/names.js";
import { KeyTree } from "../../src/nats/index/key-tree.js";
import { bulkScheduler } from "../../src/kv/bulk-scheduler.js";
import { countKeys, visitKeys } from "../../src/nats/index/key-visit.js";

const context = { deadlineMs: Infinity, signal: new AbortController().signal };
const treeOf = (keys: readonly string[]): KeyTree => {
  const tree = new KeyTree();
  for (const [index, key] of keys.entries()) tree.set(Buffer.from(key), factsOf(index + 1));
  return tree;
};
const factsOf = (revision: number) => ({
  revision,
  timeMs: 0,
  detail: 0,
  valueBytes: 0,
  expiresAtMs: Infinity,
});
const byBytes = (left: string, right: string): number =>
  Buffer.compare(Buffer.from(left), Buffer.from(right));

const unit = fc.constantFrom("a", "b", "b", ".", ".", "é", "🙂", "=", "~");
const keys = fc.uniqueArray(fc.string({ unit, minLength: 1, maxLength: 6 }), { maxLength: 60 });
const filterUnit = fc.constantFrom("a", "b", ".", ".", "*", ">", "é");
const filters = fc.array(
  fc.string({ unit: filterUnit, maxLength: 6 }).filter((text) => {
    try {
      parseFilters([text]);
      return true;
    } catch {
      return false;
    }
  }),
  { maxLength: 4 },
);

describe("keys of an index", () => {
  it("are visited and counted as filters say", async () => {
    await fc.assert(
      fc.asyncProperty(
        keys,
        filters,
        fc.option(fc.string({ unit, maxLength: 4 })),
        async (all, texts, from) => {
          const tree = treeOf(all);
          const parsed = parseFilters(texts);
          const matching = all.filter((key) => matchesAny(parsed, escapeKey(key))).sort(byBytes);
          expect(await countKeys(tree, parsed, context)).toBe(matching.length);
          const visited: string[] = [];
          const start = from === null ? undefined : Buffer.from(from);
          const visit = (key: string): boolean => visited.push(key) > 0;
          expect(await visitKeys(tree, parsed, start, visit, context)).toBe(true);
          expect(visited).toEqual(matching.filter((key) => from === null || byBytes(key, from) >= 0));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("are those of the moment when the visit began, whatever changes while it goes on", async () => {
    const all = Array.from({ length: 5_000 }, (_, index) => `k${String(index).padStart(5, "0")}`);
    const tree = treeOf(all);
    const visited: string[] = [];
    const visiting = visitKeys(tree, parseFilters([]), undefined, (key) => visited.push(key) > 0, context);
    expect(visited.length).toBeLessThan(all.length);
    for (const key of all) tree.delete(Buffer.from(key));
    tree.set(Buffer.from("k00000x"), factsOf(9_999));
    expect(await visiting).toBe(true);
    expect(visited).toEqual(all);
    expect(tree.size).toBe(1);
  });

  it("of several callers are visited a slice in each turn while short calls come in", async () => {
    const tree = treeOf(Array.from({ length: 5_000 }, (_, index) => `k${index}`));
    let [turns, isOver] = [0, false];
    const nextTurn = (): void => {
      turns++;
      bulkScheduler.noteShortCall();
      if (!isOver) setImmediate(nextTurn);
    };
    nextTurn();
    const visit = (): Promise<boolean> => visitKeys(tree, parseFilters([]), undefined, () => true, context);
    expect(await Promise.all([visit(), visit(), visit(), visit()])).toEqual([true, true, true, true]);
    isOver = true;
    // The first slice of each does not wait.
    expect(turns).toBeGreaterThanOrEqual(16);
  });

  it("end with the caller's time, between two slices", async () => {
    const tree = treeOf(Array.from({ length: 3_000 }, (_, index) => `k${index}`));
    const canceled = { deadlineMs: Infinity, signal: AbortSignal.abort() };
    await expect(visitKeys(tree, parseFilters([]), undefined, () => true, canceled)).rejects.toThrow(
      "canceled",
    );
    await expect(
      visitKeys(tree, parseFilters([]), undefined, () => true, { ...context, deadlineMs: 0 }),
    ).rejects.toThrow("deadline");
  });
});

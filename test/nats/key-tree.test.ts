/** The key tree against a sorted array: contents, order, ranks, snapshots and expiry after any sequence of changes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KeyFacts } from "../../src/nats/index/key-leaf.js";
import { type KeySnapshot, KeyTree } from "../../src/nats/index/key-tree.js";
import { runs } from "../support/extended.js";

const bytesOf = (key: string): Uint8Array => Buffer.from(key);
const byBytes = (left: string, right: string): number =>
  Buffer.compare(Buffer.from(left), Buffer.from(right));

function factsOf(revision: number, expiresAtMs = Infinity): KeyFacts {
  return {
    revision,
    timeMs: revision * 10,
    detail: revision + 5,
    valueBytes: revision + 3,
    expiresAtMs,
  };
}

function contents(tree: KeySnapshot, from = ""): [string, number][] {
  const found: [string, number][] = [];
  for (const cursor = tree.cursor(bytesOf(from)); cursor.next();) {
    expect(cursor.keyLength).toBe(Buffer.byteLength(cursor.key));
    expect(cursor.facts.revision).toBe(cursor.revision);
    found.push([cursor.key, cursor.revision]);
  }
  return found;
}

function sorted(model: ReadonlyMap<string, KeyFacts>): [string, number][] {
  return [...model]
    .map(([key, { revision }]): [string, number] => [key, revision])
    .sort(([a], [b]) => byBytes(a, b));
}

/** Keys that share prefixes, of one to a few bytes a character, so that splits and merges meet all kinds of neighbours. */
const keys = fc.oneof(
  { weight: 4, arbitrary: fc.nat(3_000).map((number) => `k${number}`) },
  { weight: 2, arbitrary: fc.nat(2_000).map((number) => `users.${String(number).padStart(6, "0")}.name`) },
  {
    weight: 1,
    arbitrary: fc.string({
      unit: fc.constantFrom("a", "b", ".", "é", "\u{1F511}", "\uFFFD"),
      minLength: 1,
      maxLength: 6,
    }),
  },
);
const change = fc.record({
  kind: fc.constantFrom("set", "set", "set", "set", "delete", "snapshot"),
  key: keys,
  count: fc.integer({ min: 1, max: 200 }),
});

/** Passes keys as the index does: in memory that the next key overwrites. */
const scratch = Buffer.alloc(4_096);
const set = (tree: KeyTree, key: string, facts: KeyFacts): boolean =>
  tree.set(scratch, facts, scratch.write(key));

describe("key tree", () => {
  it("holds what a sorted map holds, and its snapshots what that held then", () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), keys, (changes, probe) => {
        const tree = new KeyTree();
        const model = new Map<string, KeyFacts>();
        const snapshots: { readonly taken: KeySnapshot; readonly held: [string, number][] }[] = [];
        let revision = 0;
        for (const { kind, key, count } of changes) {
          if (kind === "snapshot") {
            snapshots.push({ taken: tree.snapshot(), held: sorted(model) });
            continue;
          }
          for (let index = 0; index < count; index++) {
            const text = index === 0 ? key : `${key}${index}`;
            if (kind === "set") {
              const facts = factsOf(++revision);
              expect(set(tree, text, facts)).toBe(!model.has(text));
              model.set(text, facts);
            } else {
              expect(tree.delete(bytesOf(text))).toBe(model.delete(text));
            }
          }
        }
        const held = sorted(model);
        expect(tree.size).toBe(held.length);
        expect(contents(tree)).toEqual(held);
        for (const { taken, held } of snapshots) {
          expect(taken.size).toBe(held.length);
          expect(contents(taken)).toEqual(held);
        }
        const below = held.filter(([key]) => byBytes(key, probe) < 0);
        expect(tree.rank(bytesOf(probe))).toBe(below.length);
        expect(contents(tree, probe)).toEqual(held.slice(below.length));
        for (const [key] of held.slice(0, 50)) expect(tree.get(bytesOf(key))).toEqual(model.get(key));
        if (!model.has(probe)) expect(tree.get(bytesOf(probe))).toBeUndefined();
      }),
      { numRuns: runs(60) },
    );
  });

  it("finds the keys that have expired, also after others took their place", () => {
    const expiring = fc.tuple(fc.nat(500), fc.oneof(fc.nat(100), fc.constant(Infinity)));
    fc.assert(
      fc.property(
        fc.array(expiring, { maxLength: 400 }),
        fc.array(fc.nat(100), { maxLength: 5 }),
        (puts, times) => {
          const tree = new KeyTree();
          const model = new Map<string, KeyFacts>();
          for (const [number, expiresAtMs] of puts) {
            const facts = factsOf(number + 1, expiresAtMs);
            set(tree, `k${number}`, facts);
            model.set(`k${number}`, facts);
            if (number % 7 === 0) tree.snapshot();
          }
          for (const nowMs of times) {
            for (;;) {
              const keys = tree.expired(nowMs, 10);
              if (keys.length === 0) break;
              for (const key of keys) {
                tree.delete(key);
                const facts = model.get(Buffer.from(key).toString());
                expect(facts?.expiresAtMs).toBeLessThanOrEqual(nowMs);
                model.delete(Buffer.from(key).toString());
              }
            }
            for (const { expiresAtMs } of model.values()) expect(expiresAtMs).toBeGreaterThan(nowMs);
            expect(contents(tree)).toEqual(sorted(model));
          }
        },
      ),
    );
  });

  it("takes less than 120 bytes for a key of 40 bytes, in whatever order keys come", () => {
    const count = 50_000;
    const keyOf = (number: number): string => `tenant-0042/session/${String(number).padStart(20, "0")}`;
    const bytesPerKey = (order: (index: number) => number): number => {
      const tree = new KeyTree();
      for (let index = 0; index < count; index++) set(tree, keyOf(order(index)), factsOf(index + 1));
      expect(tree.size).toBe(count);
      return tree.memoryBytes / count;
    };
    // 7,919 is prime and does not divide the count: each number comes once, far from the one before.
    expect(bytesPerKey((index) => (index * 7_919) % count)).toBeLessThan(120);
    expect(bytesPerKey((index) => index)).toBeLessThan(120);
    expect(bytesPerKey((index) => count - index)).toBeLessThan(130);
  });

  it("gives memory back when keys go", () => {
    const tree = new KeyTree();
    const empty = tree.memoryBytes;
    for (let number = 0; number < 20_000; number++) set(tree, `k${number}`, factsOf(number + 1));
    for (let number = 0; number < 20_000; number++) tree.delete(bytesOf(`k${number}`));
    expect(tree.size).toBe(0);
    expect(tree.memoryBytes).toBeLessThan(empty + 20_000);
  });
});

/** What is loaded in any order makes the same tree as inserting each key does. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeKey, isPlainKey } from "../../src/kv/names.js";
import type { KeyFacts } from "../../src/nats/index/key-leaf.js";
import { KeyLoad } from "../../src/nats/index/key-load.js";
import { RUN_KEYS_MAX } from "../../src/nats/index/key-run.js";
import { type KeySnapshot, KeyTree } from "../../src/nats/index/key-tree.js";

interface Loaded {
  readonly key: string;
  readonly facts: KeyFacts;
}

const factsOf = (revision: number, expiresAtMs = Infinity): KeyFacts => ({
  ...{ revision, timeMs: revision * 10, detail: revision + 5, valueBytes: revision + 3 },
  expiresAtMs,
});

async function treeOf(
  loaded: readonly Loaded[],
  isWanted: (key: string) => boolean = () => true,
): Promise<KeyTree> {
  const load = new KeyLoad();
  for (const { key, facts } of loaded) {
    // Within a longer block, as keys arrive.
    const bytes = Buffer.from(`prefix.${key}`);
    load.add(bytes, "prefix.".length, bytes.length, facts);
  }
  return load.finish((blob, start, length) =>
    isWanted(Buffer.from(blob.buffer, blob.byteOffset + start, length).toString()),
  );
}

function contents(tree: KeySnapshot): [string, KeyFacts][] {
  const found: [string, KeyFacts][] = [];
  for (const cursor = tree.cursor(new Uint8Array(0)); cursor.next();) found.push([cursor.key, cursor.facts]);
  return found;
}

/** For many keys: comparing two texts is fast. */
const text = (tree: KeySnapshot): string => JSON.stringify(contents(tree));

function insertedOneByOne(loaded: readonly Loaded[]): KeyTree {
  const tree = new KeyTree();
  for (const { key, facts } of loaded) tree.set(Buffer.from(key), facts);
  return tree;
}

const SHARED = "tenant-0001.session.0000000000";
/** Keys that share long prefixes, end within four bytes of each other, hold zero bytes, and come more than once. */
const keys = fc.oneof(
  fc.nat(400).map((number) => `${SHARED}${number}`),
  fc.nat(400).map((number) => `k${number}`),
  fc.string({ unit: fc.constantFrom("a", "b", "\0", ".", "é", "\u{1F511}"), minLength: 1, maxLength: 7 }),
);

describe("a key load", () => {
  it("makes the tree that inserting its keys one by one makes", async () => {
    const messages = fc.array(
      fc.record({ key: keys, revision: fc.integer({ min: 1, max: 500 }), expires: fc.boolean() }),
      { maxLength: 900 },
    );
    await fc.assert(
      fc.asyncProperty(messages, async (all) => {
        const loaded = all.map(({ key, revision, expires }, index) => ({
          key,
          facts: factsOf(revision * 1_000 + index, expires ? index + 1 : Infinity),
        }));
        const [tree, model] = [await treeOf(loaded), insertedOneByOne(loaded)];
        expect(contents(tree)).toEqual(contents(model));
        expect(tree.expired(500, 1_000).length).toBe(model.expired(500, 1_000).length);
      }),
    );
  });

  it("leaves out the keys that are not wanted", async () => {
    const loaded = Array.from({ length: 300 }, (_, index) => ({
      key: `k${index}`,
      facts: factsOf(index + 1),
    }));
    const tree = await treeOf(loaded, (key) => !key.endsWith("7"));
    expect(contents(tree)).toEqual(
      contents(insertedOneByOne(loaded.filter(({ key }) => !key.endsWith("7")))),
    );
  });

  it("merges several runs into a tree that can be changed, ranked and copied like any other", async () => {
    const count = 2 * RUN_KEYS_MAX + 1_000;
    const numbers = Array.from({ length: count }, (_, index) => (index * 7_919) % count);
    const loaded = numbers.map((number, index) => ({
      key: `t${number % 100}.${String(number).padStart(20, "0")}`,
      facts: factsOf(index + 1),
    }));
    const tree = await treeOf(loaded);
    const model = insertedOneByOne(loaded);
    expect(tree.size).toBe(count);
    expect(text(tree)).toBe(text(model));
    const before = tree.snapshot();
    for (let index = 0; index < count; index += 3) {
      const key = Buffer.from(loaded[index]?.key ?? "");
      for (const each of [tree, model]) {
        if (index % 2 === 0) each.delete(key);
        else each.set(Buffer.concat([key, key]), factsOf(count + index));
      }
    }
    expect(text(tree)).toBe(text(model));
    expect(tree.rank(Buffer.from("t5"))).toBe(model.rank(Buffer.from("t5")));
    expect(before.size).toBe(count);
    expect(text(before)).toBe(text(insertedOneByOne(loaded)));
    // Spare room in the nodes is small.
    expect(before.memoryBytes / count).toBeLessThan(100);
  });

  it("of no keys makes an empty tree", async () => {
    expect((await treeOf([])).size).toBe(0);
  });
});

it("a plain key is one whose stored form is itself", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "Z", "0", "_", "-", "/", ".", "=", "é"), maxLength: 8 }),
      (text) => {
        const bytes = Buffer.from(`x${text}=`);
        const isPlain = text !== "" && escapeKey(text) === text;
        expect(isPlainKey(bytes, 1, bytes.length - 1)).toBe(isPlain);
      },
    ),
  );
});

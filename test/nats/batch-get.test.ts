/** A batch of keys is read as of one revision, also during writes; what can't be proved of an earlier revision is refused. */
import { describe, expect } from "vitest";
import type { KvError } from "../../src/kv/errors.js";
import type { KeyBatch } from "../../src/kv/reads.js";
import { storeTest } from "../support/fixtures.js";
import { until } from "../support/until.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { stateAt, writeMuch, type Written } from "./written.js";

const it = storeTest();
const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);

const asKvError = (error: unknown): KvError => error as KvError;
const KEYS = Array.from({ length: 30 }, (_, index) => (index % 7 === 0 ? `=${index} é` : `k.${index}`));

function expectExact(batch: KeyBatch, keys: readonly string[], written: Written): void {
  const state = stateAt(written, batch.revision);
  expect(batch.results.map(({ key, entry }) => [key, entry && text(entry.value)])).toEqual(
    keys.map((key) => [key, state.get(key)]),
  );
}

describe.each([1, 5])("a batch, with history %i", (history) => {
  it("is exact at the revision that it names, while many write, delete and purge", async ({ store }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, history }, scope());
    const written: Written = new Map();
    const seen: KeyBatch[] = [];
    const past: { batch: KeyBatch | KvError; revision: bigint }[] = [];
    let left = 6;
    const reader = async (): Promise<void> => {
      while (left > 0) {
        const batch = await store.batchGet(bucket, KEYS, 0n, scope());
        seen.push(batch);
        if (batch.revision < 20n) continue;
        const revision = batch.revision - BigInt(seen.length % 20);
        const earlier = store.batchGet(bucket, KEYS, revision, scope()).catch(asKvError);
        past.push({ batch: await earlier, revision });
      }
    };
    const writers = Array.from({ length: 6 }, async (_, seed) => {
      // The first key much more often than the others.
      const keyAt = (step: number): string =>
        KEYS[step % 3 === 0 ? 0 : (seed * 31 + step * 17) % KEYS.length] ?? "";
      await writeMuch(store, bucket, written, { seed, steps: 150, keyAt });
      left--;
    });
    await Promise.all([...writers, reader(), reader()]);
    seen.push(await store.batchGet(bucket, KEYS, 0n, scope()));
    expect(seen.at(-1)?.revision).toBe([...written.keys()].reduce((a, b) => (a > b ? a : b)));
    for (const batch of seen) expectExact(batch, KEYS, written);
    for (const { batch, revision } of past) {
      if ("kind" in batch) expect(batch).toMatchObject({ kind: "revision_compacted" });
      else {
        expect(batch.revision).toBe(revision);
        expectExact(batch, KEYS, written);
      }
    }
  });
});

it("of keys that do not fit into a page says which are unread; the rest is read at the same revision", async ({
  store,
}) => {
  const bucket = newBucketName();
  await store.createBucket({ name: bucket }, scope());
  const keys = Array.from({ length: 7 }, (_, index) => `large-${index}`);
  const megabyte = new Uint8Array(1_048_576);
  for (const key of keys) await store.put(bucket, key, megabyte.fill(key.charCodeAt(6)), {}, scope());
  const asked = ["absent", ...keys, "large-0"];
  const read: KeyBatch[] = [];
  for (let rest: readonly string[] = asked; rest.length > 0;) {
    const batch: KeyBatch = await store.batchGet(bucket, rest, read[0]?.revision ?? 0n, scope());
    read.push(batch);
    rest = batch.unreadKeys;
    await store.put(bucket, "other", bytes("v"), {}, scope());
  }
  expect(read.length).toBeGreaterThan(3);
  const results = read.flatMap((batch) => batch.results);
  expect(results.map(({ key }) => key)).toEqual(asked);
  expect(results.map(({ entry }) => entry?.value[0])).toEqual(
    asked.map((key) => (key === "absent" ? undefined : key.charCodeAt(6))),
  );
  // The rest is not read where it has changed.
  const first = await store.batchGet(bucket, asked, 0n, scope());
  await store.put(bucket, "large-6", bytes("new"), {}, scope());
  expect(first.unreadKeys).toContain("large-6");
  await expect(store.batchGet(bucket, ["large-6"], first.revision, scope())).rejects.toMatchObject({
    kind: "revision_compacted",
    key: "large-6",
  });
});

it("at an earlier revision has what history proves, and nothing else", async ({ store }) => {
  const bucket = newBucketName();
  await store.createBucket({ name: bucket, history: 3 }, scope());
  const put = (key: string, value: string): Promise<bigint> =>
    store.put(bucket, key, bytes(value), {}, scope());
  await put("stays", "s");
  await put("changes", "old");
  await put("goes", "g");
  const revision = await store.delete(bucket, "goes", {}, scope());
  await put("changes", "new");
  await put("goes", "back");
  await put("later", "l");
  const keys = ["stays", "changes", "goes", "never"];
  const { results } = await store.batchGet(bucket, keys, revision, scope());
  expect(results.map(({ entry }) => entry && text(entry.value))).toEqual(["s", "old", undefined, undefined]);
  const refused = (key: string, at: bigint): Promise<void> =>
    expect(store.batchGet(bucket, ["stays", key], at, scope())).rejects.toMatchObject({
      kind: "revision_compacted",
      key,
    });
  await refused("later", revision);
  await store.delete(bucket, "changes", { purge: true }, scope());
  await refused("changes", revision);
  await expect(store.batchGet(bucket, keys, 1_000n, scope())).rejects.toMatchObject({
    kind: "revision_in_future",
  });
  const before = (await store.getBucket(bucket, scope())).revision;
  await store.compactBucket(bucket, scope());
  await refused("changes", revision);
  // What was compacted had no value at that revision.
  const after = await store.batchGet(bucket, ["changes"], before, scope());
  expect(after.results[0]?.entry).toBeUndefined();
});

it("has no value that has expired, and proves nothing of before", async ({ store }) => {
  const bucket = newBucketName();
  await store.createBucket({ name: bucket, ttlMs: 1_000, history: 2 }, scope());
  const revision = await store.put(bucket, "k", bytes("v"), {}, scope());
  const batch = await store.batchGet(bucket, ["k"], 0n, scope());
  expect(text(batch.results[0]?.entry?.value)).toBe("v");
  await until("the value has expired", async () => {
    const { results } = await store.batchGet(bucket, ["k"], 0n, scope());
    return results[0]?.entry === undefined;
  });
  await store.put(bucket, "other", bytes("v"), {}, scope());
  await expect(store.batchGet(bucket, ["k"], revision, scope())).rejects.toMatchObject({
    kind: "revision_compacted",
  });
});

it("never mixes a bucket with an earlier one of its name, which had the same revisions", async ({
  store,
  otherCopy,
}) => {
  const bucket = newBucketName();
  for (const incarnation of ["first", "second", "third"]) {
    await store.createBucket({ name: bucket }, scope());
    for (const key of ["a", "b"]) await store.put(bucket, key, bytes(incarnation), {}, scope());
    const { results } = await otherCopy.store.batchGet(bucket, ["a", "b"], 0n, scope());
    expect(results.map(({ entry }) => text(entry?.value))).toEqual([incarnation, incarnation]);
    await store.deleteBucket(bucket, scope());
  }
  await expect(otherCopy.store.batchGet(bucket, ["a"], 0n, scope())).rejects.toMatchObject({
    kind: "bucket_not_found",
  });
});

it("refuses no keys, too many, and malformed ones", async ({ store }) => {
  const bucket = newBucketName();
  await store.createBucket({ name: bucket }, scope());
  const refused = (keys: readonly string[], sentence: RegExp): Promise<void> =>
    expect(store.batchGet(bucket, keys, 0n, scope())).rejects.toMatchObject({
      kind: "invalid_argument",
      message: expect.stringMatching(sentence) as string,
    });
  await refused([], /0 keys; a batch has 1 to 1000/);
  await refused(
    Array.from({ length: 1_001 }, () => "k"),
    /1001 keys/,
  );
  await refused(["k", ""], /key/i);
});

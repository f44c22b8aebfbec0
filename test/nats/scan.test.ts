/** A scan is exact at one revision or says that it is not, also during writes; it releases everything, also when its caller leaves. */
import { describe, expect } from "vitest";
import type { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Entry } from "../../src/kv/entry.js";
import type { Scan, ScanOptions, ScanPart } from "../../src/kv/reads.js";
import type { Store } from "../../src/kv/store.js";
import { storeTest } from "../support/fixtures.js";
import { until } from "../support/until.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { stateAt, writeMuch, type Written } from "./written.js";

const it = storeTest();
const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);

const ALL: ScanOptions = {
  ...{ filters: [], prefix: "", startKey: "", endKey: "", limit: 0 },
  ...{ isReverse: false, keysOnly: false, allowNewer: false },
};

interface Scanned {
  readonly entries: readonly Entry[];
  /** Of each entry. */
  readonly revisions: readonly bigint[];
  readonly revision: bigint;
  readonly isComplete: boolean | undefined;
}

async function scan(store: Store, bucket: string, options: Partial<ScanOptions> = {}): Promise<Scanned> {
  const parts: ScanPart[] = [];
  for await (const part of await store.scan(bucket, { ...ALL, ...options }, scope())) parts.push(part);
  const last = parts.at(-1);
  return {
    entries: parts.flatMap(({ entries }) => entries),
    revisions: parts.flatMap(({ entries, revision }) => entries.map(() => revision)),
    revision: last?.revision ?? 0n,
    isComplete: last?.end?.isComplete,
  };
}

const keysOf = ({ entries }: Scanned): string[] => entries.map(({ key }) => key);

/** The entries at a revision, in byte order. */
function entriesAt(written: Written, revision: bigint): (readonly [string, string])[] {
  const state = [...stateAt(written, revision)];
  return state.sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
}

describe.each([1, 5])("a scan, with history %i", (history) => {
  it("is exact at the revision that it names, while many write, delete and purge", async ({ store }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, history }, scope());
    const written: Written = new Map();
    const seen: Scanned[] = [];
    const reversed: Scanned[] = [];
    let left = 6;
    const writers = Array.from({ length: 6 }, async (_, seed) => {
      const keyAt = (step: number): string => {
        const index = (seed * 31 + step * 17) % 60;
        return index % 7 === 0 ? `=${index} é` : `k.${index}`;
      };
      await writeMuch(store, bucket, written, { seed, steps: 120, keyAt });
      left--;
    });
    const reader = async (): Promise<void> => {
      while (left > 0) {
        seen.push(await scan(store, bucket));
        reversed.push(await scan(store, bucket, { isReverse: true }));
      }
    };
    await Promise.all([...writers, reader(), reader()]);
    seen.push(await scan(store, bucket));
    for (const { entries, revision, isComplete } of seen) {
      expect(isComplete).toBe(true);
      expect(entries.map(({ key, value }) => [key, text(value)])).toEqual(entriesAt(written, revision));
    }
    for (const { entries, revision } of reversed)
      expect(entries.map(({ key, value }) => [key, text(value)])).toEqual(
        entriesAt(written, revision).toReversed(),
      );
  });
});

it("selects by filters, prefix, bounds and limit, in both directions", async ({ store }) => {
  const bucket = newBucketName();
  await store.createBucket({ name: bucket }, scope());
  const keys = ["a", "a.1", "a.1.x", "a.2", "ab", "b.1", "b.10", "c", "é"];
  for (const key of keys) await store.put(bucket, key, bytes(`of ${key}`), {}, scope());
  const select = async (options: Partial<ScanOptions>): Promise<string[]> => {
    const forward = await scan(store, bucket, options);
    const backward = await scan(store, bucket, { ...options, isReverse: true });
    if (!options.limit) expect(keysOf(backward)).toEqual(keysOf(forward).toReversed());
    const keysOnly = await scan(store, bucket, { ...options, keysOnly: true });
    expect(keysOf(keysOnly)).toEqual(keysOf(forward));
    expect(keysOnly.entries.every(({ value }) => value.length === 0)).toBe(true);
    for (const { key, value } of forward.entries) expect(text(value)).toBe(`of ${key}`);
    return keysOf(forward);
  };
  expect(await select({})).toEqual(keys);
  expect(await select({ filters: ["a.*", "c"] })).toEqual(["a.1", "a.2", "c"]);
  expect(await select({ filters: ["*.1*"] })).toEqual(["a.1", "b.1", "b.10"]);
  expect(await select({ prefix: "a" })).toEqual(["a", "a.1", "a.1.x", "a.2", "ab"]);
  expect(await select({ prefix: "a.", filters: ["*.*"] })).toEqual(["a.1", "a.2"]);
  expect(await select({ startKey: "a.1.x", endKey: "b.10" })).toEqual(["a.1.x", "a.2", "ab", "b.1"]);
  expect(await select({ startKey: "a.1\0", prefix: "a" })).toEqual(["a.1.x", "a.2", "ab"]);
  expect(await select({ startKey: "d", endKey: "d" })).toEqual([]);
  expect(await select({ limit: 3 })).toEqual(["a", "a.1", "a.1.x"]);
  expect(keysOf(await scan(store, bucket, { limit: 2, isReverse: true, endKey: "é" }))).toEqual([
    "c",
    "b.10",
  ]);
  expect((await scan(store, bucket, { limit: 3 })).isComplete).toBe(false);
  expect((await scan(store, bucket, { limit: 9 })).isComplete).toBe(true);
  await expect(scan(store, bucket, { startKey: "b", endKey: "a" })).rejects.toMatchObject({
    kind: "invalid_argument",
  });
  await expect(scan(store, bucket, { prefix: "p".repeat(514) })).rejects.toMatchObject({
    kind: "invalid_argument",
  });
});

describe("a scan of more than its first part", () => {
  const KEYS = Array.from({ length: 60 }, (_, index) => `large-${String(index).padStart(2, "0")}`);
  const large = (mark: number): Uint8Array => new Uint8Array(400_000).fill(mark);

  const fill = async (store: Store, history: number): Promise<string> => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket, history }, scope());
    for (const key of KEYS) await store.put(bucket, key, large(1), {}, scope());
    return bucket;
  };
  /** Overwrites keys after the first part has come. */
  const scanWhileWritten = async (
    store: Store,
    bucket: string,
    options: Partial<ScanOptions> = {},
  ): Promise<{ entries: Entry[]; revisions: Set<bigint>; error: KvError | undefined }> => {
    const entries: Entry[] = [];
    const revisions = new Set<bigint>();
    try {
      for await (const part of await store.scan(bucket, { ...ALL, ...options }, scope())) {
        if (entries.length === 0) {
          await store.put(bucket, "large-00", large(2), {}, scope());
          await store.put(bucket, "large-59", large(2), {}, scope());
        }
        entries.push(...part.entries);
        revisions.add(part.revision);
      }
      return { entries, revisions, error: undefined };
    } catch (error) {
      return { entries, revisions, error: error as KvError };
    }
  };

  it("stays at its revision where the history has it", async ({ store }) => {
    const bucket = await fill(store, 2);
    const { entries, revisions, error } = await scanWhileWritten(store, bucket);
    expect(error).toBeUndefined();
    expect(entries.map(({ key }) => key)).toEqual(KEYS);
    expect(entries.every(({ value }) => value[0] === 1)).toBe(true);
    expect([...revisions]).toEqual([60n]);
  });

  it("ends with an error where the value is gone, or continues at a newer revision if allowed", async ({
    store,
    server,
  }) => {
    const bucket = await fill(store, 1);
    // A copy of the service that remembers nothing of what was written.
    const fresh = await openStore(server.url);
    try {
      const strict = await scanWhileWritten(fresh.store, bucket);
      expect(strict.error).toMatchObject({ kind: "revision_compacted", key: "large-59" });
      const sent = strict.entries.map(({ key }) => key);
      expect(sent).toEqual(KEYS.slice(0, sent.length));
      expect(strict.entries.every(({ value }) => value[0] === 1)).toBe(true);
    } finally {
      await fresh.close();
    }
    const other = await openStore(server.url);
    try {
      const { entries, revisions, error } = await scanWhileWritten(other.store, bucket, { allowNewer: true });
      expect(error).toBeUndefined();
      expect(entries.map(({ key }) => key)).toEqual(KEYS);
      // The last one was overwritten once more, with the same bytes.
      expect(entries.map(({ value }) => value[0])).toEqual(KEYS.map((key) => (/00|59/.test(key) ? 2 : 1)));
      expect([...revisions]).toEqual([62n, 64n]);
      expect(entries.at(-1)?.revision).toBe(64n);
    } finally {
      await other.close();
    }
  });
});

it(
  "holds no more memory than allowed for slow readers, and none once they leave",
  { timeout: 60_000 },
  async ({ store, server }) => {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket }, scope());
    for (let index = 0; index < 40; index++)
      await store.put(bucket, `k${index}`, new Uint8Array(1_000_000), {}, scope());
    const limits = { ...DEFAULT_LIMITS, scanBytesMax: 16 * 1_048_576 };
    const open = await openStore(server.url, { limits });
    try {
      const scans: Scan[] = [];
      const first: Promise<unknown>[] = [];
      for (let index = 0; index < 6; index++) {
        const one = await open.store.scan(bucket, ALL, scope());
        scans.push(one);
        const part = one.next();
        part.catch(() => undefined);
        first.push(part);
      }
      // Two have room; the others wait, until these leave.
      await Promise.all(first.slice(0, 2));
      expect(open.store.scanMemory()).toEqual({ reserved: limits.scanBytesMax, peak: limits.scanBytesMax });
      for (const one of scans.slice(0, 4)) await one.return?.();
      await Promise.all(first.slice(4));
      await until(
        "the scan ahead has been dropped",
        () => open.store.scanMemory().reserved <= limits.scanBytesMax,
      );
      for (const one of scans) await one.return?.();
      await until("everything is released", () => open.store.scanMemory().reserved === 0);
      expect(open.store.scanMemory().peak).toBe(limits.scanBytesMax);
      expect(open.bulk.unread.peak).toBeLessThanOrEqual(limits.natsUnreadBytesMax);
    } finally {
      await open.close();
    }
  },
);

it("leaves out what expires before it is read, and ends where its bucket is recreated", async ({ store }) => {
  const bucket = newBucketName();
  await store.createBucket({ name: bucket, ttlMs: 1_000 }, scope());
  await store.put(bucket, "k", bytes("v"), {}, scope());
  expect(keysOf(await scan(store, bucket))).toEqual(["k"]);
  await until("the value has expired", async () => (await scan(store, bucket)).entries.length === 0);
  await store.deleteBucket(bucket, scope());
  await expect(scan(store, bucket)).rejects.toMatchObject({ kind: "bucket_not_found" });
});

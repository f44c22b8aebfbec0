/** DeleteKeys loses no concurrent write, stops when its time runs out, and deletes nothing in a recreated bucket. */
import { expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { KeyDeletion } from "../../src/kv/key-deletion.js";
import type { Store } from "../../src/kv/store.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";

const it = storeTest({ bucket: {} });

async function putAll(store: Store, bucket: string, count: number): Promise<void> {
  const keys = Array.from({ length: count }, (_, n) => `k.${n}`);
  await Promise.all(keys.map((key) => store.put(bucket, key, bytes("old"), {}, scope())));
}

/** Calls until it is complete. */
async function deleteAll(store: Store, bucket: string, limit = 0): Promise<readonly KeyDeletion[]> {
  const pages: KeyDeletion[] = [];
  let pageToken = "";
  do {
    const options = { filters: ["k.>"], purge: false, page: { limit, pageToken } };
    const page = await store.deleteKeys(bucket, options, scope());
    pages.push(page);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return pages;
}

it("keeps every value that another client writes meanwhile", async ({ store, otherCopy, bucket }) => {
  const count = 1_000;
  await putAll(store, bucket, count);
  const written = new Map<string, bigint>();
  let isOver = false as boolean;
  const writer = (async () => {
    for (let step = 0; !isOver; step++) {
      const key = `k.${(step * 37) % count}`;
      written.set(key, await otherCopy.store.put(bucket, key, bytes("new"), {}, scope()));
    }
  })();
  const pages = await deleteAll(store, bucket, 100);
  isOver = true;
  await writer;
  const { revision } = pages[0] as KeyDeletion;
  for (const page of pages) expect(page.revision).toBe(revision);
  const kept = [...written].filter(([, at]) => at > revision);
  expect(kept.length).toBeGreaterThan(0);
  for (const [key, at] of kept) expect((await store.get(bucket, key, 0n, scope())).revision).toBe(at);
  const left = await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
  expect(left.items).toEqual(kept.map(([key]) => key).sort());
  const sum = (name: "deleted" | "skipped"): number => pages.reduce((all, page) => all + page[name], 0);
  expect(sum("deleted")).toBeGreaterThanOrEqual(count - kept.length);
  expect(sum("deleted") + sum("skipped")).toBeLessThanOrEqual(count);
  expect(pages.at(-1)).toMatchObject({ remainingMax: 0 });
});

it("deletes at most as many keys as its limit, the setting's or the request's", async ({ server }) => {
  const open = await openStore(server.url, { limits: { ...DEFAULT_LIMITS, deleteKeysMax: 40 } });
  const bucket = newBucketName();
  await open.store.createBucket({ name: bucket }, scope());
  await putAll(open.store, bucket, 100);
  expect((await deleteAll(open.store, bucket)).map(({ deleted }) => deleted)).toEqual([40, 40, 20]);
  await putAll(open.store, bucket, 5);
  expect((await deleteAll(open.store, bucket, 2)).map(({ deleted }) => deleted)).toEqual([2, 2, 1]);
  const options = { filters: [">"], purge: false, page: { limit: 41, pageToken: "" } };
  await expect(open.store.deleteKeys(bucket, options, scope())).rejects.toThrow(/limit is 41/);
  await open.close();
});

it("begins no further deletes when half of its time is over, and continues from there", async ({
  store,
  bucket,
}) => {
  await putAll(store, bucket, 600);
  const options = { filters: ["k.*"], purge: true, page: { limit: 0, pageToken: "" } };
  // The first look at the deadline decides when to stop; the requests to the storage have time.
  const context = scope();
  const deadlines = [performance.now()];
  Object.defineProperty(context, "deadlineMs", {
    get: () => deadlines.shift() ?? performance.now() + 60_000,
  });
  const first = await store.deleteKeys(bucket, options, context);
  expect(first).toMatchObject({ deleted: 256, skipped: 0, remainingMax: 344 });
  const page = { limit: 0, pageToken: first.nextPageToken };
  expect(await store.deleteKeys(bucket, { ...options, page }, scope())).toMatchObject({ deleted: 344 });
});

it("refuses the token of a bucket that was recreated", async ({ store, bucket }) => {
  await putAll(store, bucket, 3);
  const options = { filters: ["k.*"], purge: false, page: { limit: 1, pageToken: "" } };
  const { nextPageToken } = await store.deleteKeys(bucket, options, scope());
  await store.deleteBucket(bucket, scope());
  await store.createBucket({ name: bucket }, scope());
  await putAll(store, bucket, 3);
  const again = { ...options, page: { limit: 1, pageToken: nextPageToken } };
  await expect(store.deleteKeys(bucket, again, scope())).rejects.toThrow(/earlier bucket/);
  const left = await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
  expect(left.items).toHaveLength(3);
});

/** Lists and counts are exact at the revision that they name, also during writes, and follow what changes a stream without a message. */
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { KeyPage } from "../../src/kv/reads.js";
import type { Store } from "../../src/kv/store.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { until } from "../support/until.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

let server: TestNatsServer;
let nats: NatsConnection;
beforeAll(async () => {
  server = await startNatsServer();
  nats = await connect({ servers: server.url });
});
afterAll(async () => {
  await nats.close();
  await server.remove();
});

let opened: OpenStore;
let store: Store;
let bucket: string;
beforeEach(() => (bucket = newBucketName()));
afterEach(() => opened.close());

async function open(options: Parameters<typeof openStore>[1] = {}): Promise<void> {
  opened = await openStore(server.url, options);
  store = opened.store;
}

const put = (key: string): Promise<bigint> => store.put(bucket, key, bytes("v"), {}, scope());
const list = (filters: readonly string[] = []): Promise<KeyPage> =>
  store.listKeys(bucket, filters, { limit: 0, pageToken: "" }, scope());
const keys = async (): Promise<readonly string[]> => (await list()).items;
const values = async (): Promise<number> => (await store.getBucket(bucket, scope())).values;

async function ask(operation: string, body: object): Promise<void> {
  const { data } = await nats.request(`$JS.API.${operation}.KV_APP_${bucket}`, JSON.stringify(body));
  const answer = JSON.parse(Buffer.from(data).toString()) as { readonly error?: unknown };
  expect(answer.error).toBeUndefined();
}

/** What was written, by revision. */
type Written = Map<bigint, { readonly key: string; readonly isPut: boolean }>;

/** The keys that were live at a revision. */
function liveAt(written: Written, revision: bigint): string[] {
  const live = new Set<string>();
  for (const [, { key, isPut }] of [...written].filter(([at]) => at <= revision).sort(byRevision)) {
    if (isPut) live.add(key);
    else live.delete(key);
  }
  return [...live].sort();
}

const byRevision = ([one]: readonly [bigint, unknown], [other]: readonly [bigint, unknown]): number =>
  one < other ? -1 : 1;

describe.each([
  ["where others may write too", { isExclusive: false, history: 1 }],
  ["where others may write too, with history", { isExclusive: false, history: 5 }],
  ["where nobody else writes", { isExclusive: true, history: 1 }],
])("the key index, %s", (_, { isExclusive, history }) => {
  it("lists and counts what was live at the revision that it names, while many write, delete and purge", async () => {
    await open({ isExclusive });
    await store.createBucket({ name: bucket, history }, scope());
    const written: Written = new Map();
    const seen: { readonly items: readonly string[]; readonly revision: bigint }[] = [];
    const counted: { readonly values: number; readonly revision: bigint }[] = [];
    let newest = 0n;
    let writersLeft = 8;
    const note = (revision: bigint, key: string, isPut: boolean): void => {
      if (revision === 0n) return;
      written.set(revision, { key, isPut });
      if (revision > newest) newest = revision;
    };
    const writer = async (seed: number): Promise<void> => {
      for (let step = 0; step < 120; step++) {
        const key = `k${(seed * 31 + step * 17) % 60}.x`;
        const kind = (seed + step * 7) % 5;
        if (kind < 3) note(await put(key), key, true);
        else note(await store.delete(bucket, key, { purge: kind === 4 }, scope()), key, false);
      }
      writersLeft--;
    };
    const reader = async (): Promise<void> => {
      while (writersLeft > 0) {
        const before = newest;
        const page = await list();
        expect(page.revision).toBeGreaterThanOrEqual(before);
        seen.push(page);
        const info = await store.getBucket(bucket, scope());
        expect(info.revision).toBeGreaterThanOrEqual(page.revision);
        counted.push(info);
      }
    };
    await Promise.all([...Array.from({ length: 8 }, (_, seed) => writer(seed)), reader(), reader()]);
    seen.push(await list());
    expect(seen.at(-1)?.revision).toBe(newest);
    for (const { items, revision } of seen) expect(items).toEqual(liveAt(written, revision));
    for (const { values, revision } of counted) expect(values).toBe(liveAt(written, revision).length);
  });
});

it.each([1, 5])(
  "a key index that is loaded during writes holds each key's newest state, with history %i",
  async (history) => {
    await open();
    await store.createBucket({ name: bucket, history }, scope());
    const written: Written = new Map();
    for (let index = 0; index < 600; index++) {
      const key = index % 10 === 0 ? `=${index} é` : `k${index}`;
      written.set(await put(key), { key, isPut: true });
      if (index % 7 === 0) written.set(await store.delete(bucket, key, {}, scope()), { key, isPut: false });
    }
    const pages: KeyPage[] = [];
    const writer = async (seed: number): Promise<void> => {
      for (let step = 0; step < 60; step++) {
        const key = `k${(seed * 97 + step * 13) % 700}`;
        if (step % 3 === 0) written.set(await store.delete(bucket, key, {}, scope()), { key, isPut: false });
        else written.set(await put(key), { key, isPut: true });
      }
    };
    // Each round reloads the index.
    for (let round = 0; round < 4; round++) {
      const another = await openStore(server.url);
      const writers = Promise.all([1, 2, 3, 4].map((seed) => writer(seed + round)));
      pages.push(await another.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope()));
      await writers;
      pages.push(await another.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope()));
      await another.close();
    }
    written.delete(0n);
    for (const { items, revision } of pages) expect(items).toEqual(liveAt(written, revision));
  },
);

it("the key index follows a purge by another program, also one that leaves other messages in place", async () => {
  await open();
  await store.createBucket({ name: bucket }, scope());
  for (const key of ["a", "b", "c", "d"]) await put(key);
  await store.delete(bucket, "d", {}, scope());
  expect(await keys()).toEqual(["a", "b", "c"]);
  await ask("STREAM.PURGE", { filter: `$KV.APP_${bucket}.b` });
  expect(await keys()).toEqual(["a", "c"]);
  expect(await values()).toBe(2);
  await ask("STREAM.PURGE", {});
  expect(await keys()).toEqual([]);
  await put("e");
  expect(await keys()).toEqual(["e"]);
});

it("the key index counts tombstones out that were compacted, and keys that are put again", async () => {
  await open();
  await store.createBucket({ name: bucket }, scope());
  for (let index = 0; index < 20; index++) await put(`k${index}`);
  for (let index = 0; index < 20; index += 2) await store.delete(bucket, `k${index}`, {}, scope());
  expect(await values()).toBe(10);
  await store.compactBucket(bucket, scope());
  expect(await values()).toBe(10);
  for (let index = 0; index < 10; index += 2) await put(`k${index}`);
  expect(await values()).toBe(15);
  await store.compactBucket(bucket, scope());
  expect(await values()).toBe(15);
});

it("the key index belongs to one bucket: one that was recreated has none of its keys", async () => {
  await open({ isExclusive: true });
  await store.createBucket({ name: bucket }, scope());
  for (const key of ["a", "b"]) await put(key);
  expect(await keys()).toEqual(["a", "b"]);
  await store.deleteBucket(bucket, scope());
  await expect(list()).rejects.toMatchObject({ kind: "bucket_not_found" });
  await store.createBucket({ name: bucket }, scope());
  await put("c");
  expect(await list()).toEqual({ items: ["c"], nextPageToken: "", revision: 1n });
});

it("the key index follows a changed ttl, and lets keys expire without a message", async () => {
  await open();
  await store.createBucket({ name: bucket }, scope());
  await put("a");
  expect(await keys()).toEqual(["a"]);
  await store.updateBucket(bucket, { ttlMs: 1_000 }, scope());
  await until("the key has expired", async () => (await keys()).length === 0);
  expect(await values()).toBe(0);
  await put("b");
  expect(await keys()).toEqual(["b"]);
});

it("the key index of a bucket stays within its memory budget, and other buckets' are loaded again", async () => {
  const limits = { ...DEFAULT_LIMITS, indexBytesMax: 1 };
  await open({ limits });
  const other = newBucketName();
  for (const name of [bucket, other]) {
    await store.createBucket({ name }, scope());
    await store.put(name, `key-of-${name}`, bytes("v"), {}, scope());
  }
  for (let round = 0; round < 3; round++) {
    for (const name of [bucket, other]) {
      const page = await store.listKeys(name, [], { limit: 0, pageToken: "" }, scope());
      expect(page.items).toEqual([`key-of-${name}`]);
    }
  }
});

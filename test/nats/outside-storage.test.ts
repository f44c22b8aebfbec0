/** An outside NATS that does what an embedded one never does: it comes back without its last writes, or counts beyond 2^53. */
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import type { WatchEvent } from "../../src/kv/watch.js";
import { WatchHubs } from "../../src/nats/watch/hubs.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, expectRefusal, newBucketName, refusal, scope } from "./store-contract.js";
import { type OpenStore, openStore, untilConnected } from "./store-support.js";

let server: TestNatsServer;
let opened: OpenStore;
let store: Store;
let watches: WatchHubs;
let bucket: string;

beforeEach(async () => {
  server = await startNatsServer();
  opened = await openStore(server.url);
  store = opened.store;
  watches = new WatchHubs({
    link: opened.bulk,
    feeds: opened.feeds,
    isClustered: false,
    limits: DEFAULT_LIMITS,
  });
  bucket = newBucketName();
});
afterEach(async () => {
  await watches.close();
  await opened.close();
  await server.remove();
});

const put = (key: string): Promise<bigint> => store.put(bucket, key, bytes("v"), {}, scope());
const keys = async (): Promise<readonly string[]> =>
  (await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items;

/** Resolves when the store is connected again. */
const connected = (): Promise<void> => untilConnected(opened);

/** Keeps a copy of what is stored. What is returned stops the server, and starts it with that copy. */
async function keepStorage(): Promise<() => Promise<void>> {
  await server.stop("SIGTERM");
  const [kept, files] = [join(server.directory, "kept"), join(server.directory, "js")];
  await cp(files, kept, { recursive: true });
  await server.start();
  await connected();
  return async () => {
    await server.stop();
    await rm(files, { recursive: true });
    await cp(kept, files, { recursive: true });
    await server.start();
  };
}

it("a storage that lost its last write is listed as it is, also when as much was written since", async () => {
  await store.createBucket({ name: bucket }, scope());
  await put("a");
  const bringBack = await keepStorage();
  await put("lost");
  expect(await keys()).toEqual(["a", "lost"]);
  await bringBack();
  await connected();
  expect(await put("c")).toBe(2n);
  expect(await keys()).toEqual(["a", "c"]);
  expect((await store.getBucket(bucket, scope())).values).toBe(2);
});

describe("a keyed write that the storage lost", () => {
  const putKeyed = (): Promise<bigint> =>
    store.put(bucket, "k", bytes("v"), { idempotencyKey: "once" }, scope());

  /** Writes, and brings the storage back without that. */
  async function lose(history = 1): Promise<void> {
    await store.createBucket({ name: bucket, history }, scope());
    await put("a");
    await server.stop("SIGTERM");
    const [kept, files] = [join(server.directory, "kept"), join(server.directory, "js")];
    await cp(files, kept, { recursive: true });
    await server.start();
    await connected();
    expect(await putKeyed()).toBe(2n);
    await server.stop();
    await rm(files, { recursive: true });
    await cp(kept, files, { recursive: true });
    await server.start();
    await connected();
  }

  it.each<[string, readonly string[], bigint]>([
    ["nothing was written since", [], 2n],
    ["another key has its revision", ["c"], 3n],
    ["its own key has its revision", ["k"], 3n],
    ["the bucket is further", ["c", "d", "e"], 5n],
  ])("is written when it is sent again where %s", async (_, written, revision) => {
    await lose(5);
    for (const key of written) await put(key);
    expect(await putKeyed()).toBe(revision);
    expect(await keys()).toContain("k");
  });

  it("has an unknown outcome where what has its revision was overwritten", async () => {
    await lose();
    for (const key of ["c", "c"]) await put(key);
    await expectRefusal(putKeyed(), "outcome_unknown");
    expect(await keys()).toEqual(["a", "c"]);
  });
});

it.each([1, 5])(
  "a keyed write that was deleted and compacted is not written again by a storage that forgot it, history %i",
  async (history) => {
    await store.createBucket({ name: bucket, history }, scope());
    await put("a");
    const keyed = { idempotencyKey: "once" };
    expect(await store.put(bucket, "k", bytes("v"), keyed, scope())).toBe(2n);
    await store.delete(bucket, "k", {}, scope());
    await store.compactBucket(bucket, scope());
    await server.stop("SIGTERM");
    await server.start();
    await connected();
    const other = await openStore(server.url);
    const again = { ...keyed, sentBefore: { after: 0n, ageMs: 5_000 } };
    await expectRefusal(other.store.put(bucket, "k", bytes("v"), again, scope()), "outcome_unknown");
    const later = { ...again, sentBefore: { after: 3n, ageMs: 1_000 } };
    expect(
      await other.store.put(bucket, "k2", bytes("v"), { ...later, idempotencyKey: "later" }, scope()),
    ).toBe(4n);
    await other.close();
  },
);

describe("a watch of a storage that lost its last write", () => {
  /** Opens a watch that has seen the write that is lost, and brings the storage back without it. */
  async function rolledBack(): Promise<AsyncIterator<WatchEvent>> {
    await store.createBucket({ name: bucket }, scope());
    await put("a");
    const bringBack = await keepStorage();
    const watch = await watches.watch(bucket, { filters: [], start: "now" }, scope());
    await put("lost");
    expect(await watch.next()).toMatchObject({ value: { entry: { key: "lost", revision: 2n } } });
    await bringBack();
    return watch;
  }

  it.each<[string, readonly string[]]>([
    ["is written to until it is where it was", ["c"]],
    ["is written to until it is further", ["c", "d"]],
    ["has the lost revision overwritten", ["c", "c"]],
    ["is written at the same key", ["lost"]],
    ["is not written to", []],
  ])("ends where it %s", async (_, written) => {
    const watch = await rolledBack();
    const ended = refusal(Promise.resolve(watch.next()));
    await connected();
    for (const key of written) await put(key);
    const { kind, message } = await ended;
    expect([kind, message]).toEqual([
      "revision_in_future",
      expect.stringMatching(/^The storage lost changes/),
    ]);
    const again = await watches.watch(bucket, { filters: [], start: "snapshot" }, scope());
    expect(await again.next()).toMatchObject({ value: { entry: { key: "a", revision: 1n } } });
    await again.return();
  });

  it("continues where nothing was lost", async () => {
    await store.createBucket({ name: bucket }, scope());
    const watch = await watches.watch(bucket, { filters: [], start: "now" }, scope());
    for (const stop of ["SIGTERM", "SIGKILL"] as const) {
      await put("k");
      await put("k");
      for (const key of ["k", "k"]) expect(await watch.next()).toMatchObject({ value: { entry: { key } } });
      await server.stop(stop);
      await server.start();
      await connected();
      await put("k");
      await put("other");
      expect(await watch.next()).toMatchObject({ value: { entry: { key: "k" } } });
      expect(await watch.next()).toMatchObject({ value: { entry: { key: "other" } } });
    }
  });
});

it("a watch ends with an error where the bucket's revisions pass 2^53", async () => {
  const config = `{"name":"KV_APP_${bucket}","subjects":["$KV.APP_${bucket}.>"],"max_msgs_per_subject":5,"allow_direct":true,"first_seq":${2n ** 53n - 1n}}`;
  const { connection } = opened;
  await connection.request(`$JS.API.STREAM.CREATE.KV_APP_${bucket}`, config);
  const watch = await watches.watch(bucket, { filters: [], start: "now" }, scope());
  for (const value of ["one", "two"]) await connection.request(`$KV.APP_${bucket}.k`, value);
  expect(await watch.next()).toMatchObject({ value: { entry: { revision: 2n ** 53n - 1n } } });
  const refused = await expectRefusal(watch.next(), "unimplemented");
  expect(refused.message).toContain("9,007,199,254,740,991");
});

describe("a bucket that counts beyond 2^53", () => {
  const FIRST = 2n ** 53n + 1n;
  const LAST = FIRST + 1n;

  beforeEach(async () => {
    const config = `{"name":"KV_APP_${bucket}","subjects":["$KV.APP_${bucket}.>"],"max_msgs_per_subject":5,"allow_direct":true,"allow_rollup_hdrs":true,"first_seq":${FIRST}}`;
    const { connection } = opened;
    const made = await connection.request(`$JS.API.STREAM.CREATE.KV_APP_${bucket}`, config);
    expect(made.string()).not.toContain('"error"');
    for (const value of ["one", "two"]) await connection.request(`$KV.APP_${bucket}.k`, value);
  });

  it.each<[string, () => Promise<unknown>]>([
    ["watch", () => watches.watch(bucket, { filters: [], start: "snapshot" }, scope())],
    ["getBucket", () => store.getBucket(bucket, scope())],
    ["updateBucket", () => store.updateBucket(bucket, { history: 2 }, scope())],
    ["listKeys", () => keys()],
    ["put", () => put("k")],
    ["put if absent", () => store.put(bucket, "n", bytes("v"), { condition: "if_absent" }, scope())],
    ["delete", () => store.delete(bucket, "k", {}, scope())],
    ["get", () => store.get(bucket, "k", 0n, scope())],
    ["history", () => store.history(bucket, "k", { limit: 0, pageToken: "" }, scope())],
    ["get at a revision", () => store.get(bucket, "k", FIRST, scope())],
    [
      "importEntries",
      () =>
        store.importEntries(
          bucket,
          LAST,
          [{ key: "i", value: bytes("v"), operation: "put", contentType: "" }],
          scope(),
        ),
    ],
  ])("refuses %s, and writes nothing", async (_, call) => {
    const refused = await expectRefusal(call(), "unimplemented");
    expect(refused.message).toContain("9,007,199,254,740,991");
    const newest = await opened.connection.request(`$JS.API.DIRECT.GET.KV_APP_${bucket}.$KV.APP_${bucket}.k`);
    expect(newest.headers?.get("Nats-Sequence")).toBe(LAST.toString());
    expect(newest.string()).toBe("two");
  });

  it("keeps no other bucket from being listed", async () => {
    const other = newBucketName();
    await store.createBucket({ name: other }, scope());
    const { items } = await store.listBuckets({ limit: 0, pageToken: "" }, scope());
    expect(items.map(({ name }) => name)).toEqual([other]);
    expect((await refusal(store.getBucket(bucket, scope()))).kind).toBe("unimplemented");
  });

  it.each([1, 2, 3])("hides no bucket behind it from pages of %i", async (limit) => {
    const others = ["1", "2", "3", "4"].map((end) => `${bucket}-${end}`);
    for (const name of others) await store.createBucket({ name }, scope());
    const listed: string[] = [];
    let pageToken = "";
    do {
      const page = await store.listBuckets({ limit, pageToken }, scope());
      listed.push(...page.items.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual(others);
  });
});

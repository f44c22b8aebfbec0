/** Entries that expire: never served past their lifetime, told to watches once, whoever wrote them. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { WatchOptions } from "../../src/kv/store.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, expectRefusal, historyOf, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { line, newHubs, read, tick } from "./watching.js";
import { WAIT, succeeds, until } from "../support/until.js";

const TTL_MS = 1_000;

let server: TestNatsServer;
let open: OpenStore;
let hubs: WatchHubs;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer({ syncAlways: true });
  open = await openStore(server.url);
  hubs = newHubs(open.connection);
});
afterAll(async () => {
  await hubs.close();
  await open.close();
  await server.remove();
});
beforeEach(() => {
  bucket = newBucketName();
});

const watch = (start: WatchOptions["start"]): ReturnType<WatchHubs["watch"]> =>
  hubs.watch(bucket, { filters: [], start }, scope());

/** Publishes as another program does. */
async function publish(key: string, value: string, fields: Record<string, string>): Promise<void> {
  const block = headers();
  for (const [name, field] of Object.entries(fields)) block.set(name, field);
  await jetstream(open.connection).publish(subjectOf(bucket, key), value, { headers: block });
}

/** Restarts the server when what was written before is past its lifetime. */
async function restartAfterTtl(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
  const overMs = Date.now() + TTL_MS;
  await server.stop(signal);
  while (Date.now() <= overMs) await tick();
  await server.start();
  await until("the store is connected", async () => {
    return open.bulk.isConnected && (await succeeds(open.store.ping(scope())));
  });
}

async function expectGone(key: string): Promise<void> {
  const { store } = open;
  await expectRefusal(store.get(bucket, key, 0n, scope()), "key_not_found");
  expect((await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items).toEqual([]);
  expect((await store.getBucket(bucket, scope())).values).toBe(0);
}

/** Lines of a watch's events up to and with the first that begins so. */
async function readUntil(watcher: Awaited<ReturnType<typeof watch>>, prefix: string): Promise<string[]> {
  for (const lines: string[] = []; ;) {
    const [next = ""] = await read(watcher, 1);
    lines.push(next);
    if (next.startsWith(prefix)) return lines;
  }
}

describe.each([1, 3])("a bucket with a ttl and a history of %i", (history) => {
  beforeEach(() => open.store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope()));

  it("does not tell watches of a tombstone that ages out, neither of ours nor of another program's", async () => {
    const watcher = await watch("now");
    await open.store.put(bucket, "ours", bytes("1"), {}, scope());
    await open.store.put(bucket, "theirs", bytes("1"), {}, scope());
    await open.store.delete(bucket, "ours", {}, scope());
    await publish("theirs", "", { "KV-Operation": "DEL" });
    await open.store.put(bucket, "last", bytes("1"), {}, scope());
    expect(await readUntil(watcher, "expire last")).toEqual([
      "put ours=1 @1",
      "put theirs=1 @2",
      "delete ours @3",
      "delete theirs @4",
      "put last=1 @5",
      expect.stringMatching(/^expire last/) as string,
    ]);
    await watcher.return();
  });

  it("serves no expired key after a restart, before the storage has removed it", async () => {
    await open.store.put(bucket, "k", bytes("1"), {}, scope());
    await restartAfterTtl();
    await expectGone("k");
    await expectRefusal(historyOf(open.store, bucket, "k", scope()), "key_not_found");
    const watcher = await watch("snapshot");
    expect(line((await watcher.next()).value as never)).toMatch(/^snapshot_end/);
    await watcher.return();
  });

  it("takes an expired key for absent in conditions and deletes", async () => {
    await open.store.put(bucket, "k", bytes("1"), {}, scope());
    await open.store.put(bucket, "d", bytes("1"), {}, scope());
    await restartAfterTtl();
    expect(await open.store.delete(bucket, "d", {}, scope())).toBe(0n);
    await open.store.put(bucket, "k", bytes("2"), { condition: "if_absent" }, scope());
    expect(Buffer.from((await open.store.get(bucket, "k", 0n, scope())).value).toString()).toBe("2");
  });
});

describe("a key that another program gave a lifetime, in a bucket without a ttl", () => {
  it("expires with a word to watches, in reads, lists and counts", async () => {
    await open.store.createBucket({ name: bucket }, scope());
    const watcher = await watch("now");
    await publish("lease", "1", { "Nats-TTL": "1s" });
    expect(await readUntil(watcher, "expire")).toEqual(["put lease=1 @1", "expire lease @2"]);
    await watcher.return();
    await expectGone("lease");
  });

  it("is not served after a restart, before the storage has removed it", async () => {
    await open.store.createBucket({ name: bucket }, scope());
    await publish("lease", "1", { "Nats-TTL": "1" });
    await publish("kept", "1", { "Nats-TTL": "never" });
    await restartAfterTtl();
    await expectRefusal(open.store.get(bucket, "lease", 0n, scope()), "key_not_found");
    const { items } = await open.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
    expect(items).toEqual(["kept"]);
  });

  it("does not make watches that resume lose their place, where no entry expires", async () => {
    await open.store.createBucket({ name: bucket }, scope());
    const { config } = await (await jetstreamManager(open.connection)).streams.info(streamName(bucket));
    expect(config.subject_delete_marker_ttl).toBe(300_000_000_000);
    for (const value of ["1", "2"]) await open.store.put(bucket, "k", bytes(value), {}, scope());
    const watcher = await watch({ revision: 1n });
    expect(await read(watcher, 1)).toEqual(["put k=2 @2 after 1 superseded"]);
    await watcher.return();
  });
});

/** Reads a watch until the key expires that is written last, which is after every older entry and tombstone could. */
async function afterTtl(): Promise<void> {
  const watcher = await watch("now");
  await open.store.put(bucket, "last", bytes("1"), {}, scope());
  await readUntil(watcher, "expire last");
  await watcher.return();
}

const isStored = async (key: string): Promise<boolean> => {
  const manager = await jetstreamManager(open.connection);
  const info = await manager.streams.info(streamName(bucket), { subjects_filter: subjectOf(bucket, key) });
  return info.state.subjects !== undefined;
};

describe.each([1, 5])("a deleted key in a bucket with a ttl and a history of %i", (history) => {
  const ENTRIES: readonly [string, readonly (Record<string, string> | "ours")[]][] = [
    ["one that never expires", [{ "Nats-TTL": "never" }]],
    ["one that expires late", [{ "Nats-TTL": "1h" }]],
    ["one that expires early", [{ "Nats-TTL": "1s" }]],
    ["one that never expires, overwritten", [{ "Nats-TTL": "never" }, "ours"]],
    ["several that never expire", [{ "Nats-TTL": "never" }, "ours", { "Nats-TTL": "never" }]],
    ["one that never expires over ours", ["ours", { "Nats-TTL": "never" }]],
  ];

  beforeEach(() => open.store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope()));

  it.each(ENTRIES)("does not come back where another program wrote %s", async (_, entries) => {
    const { store } = open;
    for (const key of ["deleted", "purged"])
      for (const fields of entries)
        if (fields === "ours") await store.put(bucket, key, bytes("1"), {}, scope());
        else await publish(key, "1", fields);
    const watcher = await watch("now");
    expect(await store.delete(bucket, "deleted", {}, scope())).toBeGreaterThan(0n);
    expect(await store.delete(bucket, "purged", { purge: true }, scope())).toBeGreaterThan(0n);
    expect(await read(watcher, 2)).toEqual([
      expect.stringMatching(/^delete deleted/) as string,
      expect.stringMatching(/^purge purged/) as string,
    ]);
    await afterTtl();
    for (const key of ["deleted", "purged"]) await expectGone(key);
    await restartAfterTtl("SIGTERM");
    await store.put(bucket, "again", bytes("1"), {}, scope());
    await afterTtl();
    for (const key of ["deleted", "purged"]) await expectGone(key);
    await store.compactBucket(bucket, scope());
    for (const key of ["deleted", "purged"]) await expectGone(key);
    expect(await isStored("deleted")).toBe(false);
    await watcher.return();
  });

  it("does not come back where the bucket has its ttl only since", async () => {
    const { store } = open;
    const ageless = newBucketName();
    bucket = ageless;
    await store.createBucket({ name: ageless, history }, scope());
    await publish("deleted", "1", { "Nats-TTL": "never" });
    await store.delete(ageless, "deleted", {}, scope());
    await store.updateBucket(ageless, { ttlMs: TTL_MS }, scope());
    await afterTtl();
    await expectGone("deleted");
  });

  it("does not come back where the tombstone was imported", async () => {
    const { store } = open;
    await publish("deleted", "1", { "Nats-TTL": "never" });
    const tombstone = {
      key: "deleted",
      value: new Uint8Array(0),
      operation: "delete" as const,
      contentType: "",
    };
    await store.importEntries(bucket, 1n, [tombstone], scope());
    await afterTtl();
    await expectGone("deleted");
  });

  it("leaves nothing in the storage once it is as old as the ttl", async () => {
    const quick = await openStore(server.url, {
      limits: { ...DEFAULT_LIMITS, tombstoneRetentionMs: 10_000 },
    });
    await publish("deleted", "1", { "Nats-TTL": "never" });
    await quick.store.delete(bucket, "deleted", {}, scope());
    await vi.waitFor(async () => expect(await isStored("deleted")).toBe(false), WAIT);
    await quick.close();
  });
});

describe("a write on the revision of an entry that expired while the server was down", () => {
  it.each([{}, { ttlMs: 3_600_000 }])("is refused in a bucket with %j", async (config) => {
    const { store } = open;
    await store.createBucket({ name: bucket, ...config }, scope());
    await publish("lease", "1", { "Nats-TTL": "1s" });
    const newest = await store.get(bucket, "lease", 0n, scope());
    await restartAfterTtl();
    const condition = { ifRevision: newest.revision };
    await expectRefusal(store.put(bucket, "lease", bytes("2"), { condition }, scope()), "revision_mismatch");
    await expectRefusal(store.delete(bucket, "lease", { condition }, scope()), "revision_mismatch");
  });
});

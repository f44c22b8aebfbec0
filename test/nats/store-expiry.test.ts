/** Entries that expire: never served past their lifetime, reported to watches once, regardless of which program wrote them. */
import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { streamName } from "../../src/kv/names.js";
import type { Entry } from "../../src/kv/entry.js";
import type { Store } from "../../src/kv/store.js";
import { storeTest } from "../support/fixtures.js";
import { expectGone, publish, readUntil, restartAfterTtl, TTL_MS } from "./expiring.js";
import { bytes, expectRefusal, historyOf, scope } from "./store-contract.js";
import { line, read } from "./watching.js";

const it = storeTest({ ownServer: { syncAlways: true } });

/** The history of a key; empty if nothing of it is kept. */
async function keptOf(store: Store, bucket: string, key: string): Promise<readonly Entry[]> {
  try {
    return await historyOf(store, bucket, key, scope());
  } catch (error) {
    if (error instanceof KvError && error.kind === "key_not_found") return [];
    throw error;
  }
}

describe.each([1, 3])("a bucket with a ttl and a history of %i", (history) => {
  it.beforeEach(({ store, bucket }) => store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope()));

  it("does not tell watches of a tombstone that ages out, neither of ours nor of another program's", async ({
    open,
    store,
    bucket,
    hubs,
  }) => {
    const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    await store.put(bucket, "ours", bytes("1"), {}, scope());
    await store.put(bucket, "theirs", bytes("1"), {}, scope());
    await store.delete(bucket, "ours", {}, scope());
    await publish(open.connection, bucket, "theirs", "", { "KV-Operation": "DEL" });
    await store.put(bucket, "last", bytes("1"), {}, scope());
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

  it("serves no expired key after a restart, before the storage has removed it", async ({
    server,
    open,
    store,
    bucket,
    hubs,
  }) => {
    await store.put(bucket, "k", bytes("1"), {}, scope());
    await restartAfterTtl(server, open);
    await expectGone(store, bucket, "k");
    // The storage may have removed it meanwhile, and then keeps a marker of that.
    expect((await keptOf(store, bucket, "k")).filter(({ operation }) => operation !== "expire")).toEqual([]);
    const watcher = await hubs.watch(bucket, { filters: [], start: "snapshot" }, scope());
    expect(line((await watcher.next()).value as never)).toMatch(/^snapshot_end/);
    await watcher.return();
  });

  it("takes an expired key for absent in conditions and deletes", async ({ server, open, store, bucket }) => {
    await store.put(bucket, "k", bytes("1"), {}, scope());
    await store.put(bucket, "d", bytes("1"), {}, scope());
    await restartAfterTtl(server, open);
    expect(await store.delete(bucket, "d", {}, scope())).toBe(0n);
    await store.put(bucket, "k", bytes("2"), { condition: "if_absent" }, scope());
    expect(Buffer.from((await store.get(bucket, "k", 0n, scope())).value).toString()).toBe("2");
  });
});

describe("a key that another program gave a lifetime, in a bucket without a ttl", () => {
  it.beforeEach(({ store, bucket }) => store.createBucket({ name: bucket }, scope()));

  it("expires with an event for watches, in reads, lists and counts", async ({
    open,
    store,
    bucket,
    hubs,
  }) => {
    const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    await publish(open.connection, bucket, "lease", "1", { "Nats-TTL": "1s" });
    expect(await readUntil(watcher, "expire")).toEqual(["put lease=1 @1", "expire lease @2"]);
    await watcher.return();
    await expectGone(store, bucket, "lease");
  });

  it("is not served after a restart, before the storage has removed it", async ({
    server,
    open,
    store,
    bucket,
  }) => {
    await publish(open.connection, bucket, "lease", "1", { "Nats-TTL": "1" });
    await publish(open.connection, bucket, "kept", "1", { "Nats-TTL": "never" });
    await restartAfterTtl(server, open);
    await expectRefusal(store.get(bucket, "lease", 0n, scope()), "key_not_found");
    const { items } = await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
    expect(items).toEqual(["kept"]);
  });

  it("does not make watches that resume lose their place, where no entry expires", async ({
    open,
    store,
    bucket,
    hubs,
  }) => {
    const { config } = await (await jetstreamManager(open.connection)).streams.info(streamName(bucket));
    expect(config.subject_delete_marker_ttl).toBe(300_000_000_000);
    for (const value of ["1", "2"]) await store.put(bucket, "k", bytes(value), {}, scope());
    const watcher = await hubs.watch(bucket, { filters: [], start: { revision: 1n } }, scope());
    expect(await read(watcher, 1)).toEqual(["put k=2 @2 after 1 superseded"]);
    await watcher.return();
  });
});

describe("a write on the revision of an entry that expired while the server was down", () => {
  it.for([{}, { ttlMs: 3_600_000 }])(
    "is refused in a bucket with %j",
    async (config, { server, open, store, bucket }) => {
      await store.createBucket({ name: bucket, ...config }, scope());
      await publish(open.connection, bucket, "lease", "1", { "Nats-TTL": "1s" });
      const newest = await store.get(bucket, "lease", 0n, scope());
      await restartAfterTtl(server, open);
      const condition = { ifRevision: newest.revision };
      await expectRefusal(
        store.put(bucket, "lease", bytes("2"), { condition }, scope()),
        "revision_mismatch",
      );
      await expectRefusal(store.delete(bucket, "lease", { condition }, scope()), "revision_mismatch");
    },
  );
});

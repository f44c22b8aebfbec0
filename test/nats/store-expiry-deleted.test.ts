/** Deleted keys whose older entries outlive their bucket's ttl: they never come back, regardless of which program wrote them. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { describe, expect, vi } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { Store } from "../../src/kv/store.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { storeTest } from "../support/fixtures.js";
import { WAIT } from "../support/until.js";
import { expectGone, publish, readUntil, restartAfterTtl, TTL_MS } from "./expiring.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { read } from "./watching.js";

const it = storeTest({ ownServer: { syncAlways: true } });

/** What is written to a key before it is deleted: by another program with these headers, or by us. */
const ENTRIES: Readonly<Record<string, readonly (Record<string, string> | "ours")[]>> = {
  "one that never expires": [{ "Nats-TTL": "never" }],
  "one that expires late": [{ "Nats-TTL": "1h" }],
  "one that expires early": [{ "Nats-TTL": "1s" }],
  "one that never expires, overwritten": [{ "Nats-TTL": "never" }, "ours"],
  "several that never expire": [{ "Nats-TTL": "never" }, "ours", { "Nats-TTL": "never" }],
  "one that never expires over ours": ["ours", { "Nats-TTL": "never" }],
};
const DELETED = ["deleted", "purged"];

/** Reads a watch until the key expires that is written last, which is after every older entry and tombstone could. */
async function untilTtlOver(store: Store, hubs: WatchHubs, bucket: string): Promise<void> {
  const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
  await store.put(bucket, "last", bytes("1"), {}, scope());
  await readUntil(watcher, "expire last");
  await watcher.return();
}

async function isStored(connection: NatsConnection, bucket: string, key: string): Promise<boolean> {
  const manager = await jetstreamManager(connection);
  const info = await manager.streams.info(streamName(bucket), { subjects_filter: subjectOf(bucket, key) });
  return info.state.subjects !== undefined;
}

describe.each([1, 5])("a deleted key in a bucket with a ttl and a history of %i", (history) => {
  it("does not come back, whatever another program wrote before", async ({ server, open, store, hubs }) => {
    // A bucket for each case. All wait for the same restart of the server.
    const cases = Object.entries(ENTRIES).map(([name, entries]) => ({
      name,
      entries,
      bucket: newBucketName(),
    }));
    type Case = (typeof cases)[number];
    const inEach = async (check: (of: Case) => Promise<void>): Promise<void> => {
      const ofCase = (of: Case) =>
        check(of).catch((cause: unknown) =>
          Promise.reject(new Error(`Another program wrote ${of.name}.`, { cause })),
        );
      await Promise.all(cases.map(ofCase));
    };
    const watchers: Watcher[] = [];
    const areGone = async (bucket: string): Promise<void> => {
      for (const key of DELETED) await expectGone(store, bucket, key);
    };

    await inEach(async ({ bucket, entries }) => {
      await store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope());
      for (const key of DELETED)
        for (const fields of entries)
          if (fields === "ours") await store.put(bucket, key, bytes("1"), {}, scope());
          else await publish(open.connection, bucket, key, "1", fields);
      const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
      expect(await store.delete(bucket, "deleted", {}, scope())).toBeGreaterThan(0n);
      expect(await store.delete(bucket, "purged", { purge: true }, scope())).toBeGreaterThan(0n);
      expect(await read(watcher, 2)).toEqual([
        expect.stringMatching(/^delete deleted/) as string,
        expect.stringMatching(/^purge purged/) as string,
      ]);
      watchers.push(watcher);
      await untilTtlOver(store, hubs, bucket);
      await areGone(bucket);
    });
    await restartAfterTtl(server, open, "SIGTERM");
    await inEach(async ({ bucket }) => {
      await store.put(bucket, "again", bytes("1"), {}, scope());
      await untilTtlOver(store, hubs, bucket);
      await areGone(bucket);
      await store.compactBucket(bucket, scope());
      await areGone(bucket);
      expect(await isStored(open.connection, bucket, "deleted")).toBe(false);
    });
    for (const watcher of watchers) await watcher.return();
  });

  it("does not come back where the bucket has its ttl only since", async ({ open, store, bucket, hubs }) => {
    await store.createBucket({ name: bucket, history }, scope());
    await publish(open.connection, bucket, "deleted", "1", { "Nats-TTL": "never" });
    await store.delete(bucket, "deleted", {}, scope());
    await store.updateBucket(bucket, { ttlMs: TTL_MS }, scope());
    await untilTtlOver(store, hubs, bucket);
    await expectGone(store, bucket, "deleted");
  });

  it("does not come back where the tombstone was imported", async ({ open, store, bucket, hubs }) => {
    await store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope());
    await publish(open.connection, bucket, "deleted", "1", { "Nats-TTL": "never" });
    const tombstone = {
      key: "deleted",
      value: new Uint8Array(0),
      operation: "delete" as const,
      contentType: "",
    };
    await store.importEntries(bucket, 1n, [tombstone], scope());
    await untilTtlOver(store, hubs, bucket);
    await expectGone(store, bucket, "deleted");
  });

  it("leaves nothing in the storage once it is as old as the ttl", async ({
    server,
    open,
    store,
    bucket,
  }) => {
    await store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope());
    const quick = await openStore(server.url, {
      limits: { ...DEFAULT_LIMITS, tombstoneRetentionMs: 10_000 },
    });
    await publish(open.connection, bucket, "deleted", "1", { "Nats-TTL": "never" });
    await quick.store.delete(bucket, "deleted", {}, scope());
    await vi.waitFor(
      async () => expect(await isStored(open.connection, bucket, "deleted")).toBe(false),
      WAIT,
    );
    await quick.close();
  });
});

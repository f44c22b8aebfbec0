/** Full buckets: values are refused at max_bytes, deletes, purges and expiry go on, and tombstones do not stay. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, vi } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, expectRefusal, refusal, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { newHubs, read } from "./watching.js";
import { IS_EXTENDED } from "../support/extended.js";
import { WAIT } from "../support/until.js";

const KIB = 1_024;
const SESSIONS = IS_EXTENDED ? 1_000 : 400;
const DELETES = IS_EXTENDED ? 200 : 20;

const it = storeTest({ ownServer: {} })
  /** Writes keys until one is refused; returns how many there are. */
  .extend("fill", ({ store, bucket }) => async (valueBytes: number): Promise<number> => {
    for (let count = 0; ; count++) {
      try {
        await store.put(bucket, `k${count}`, Buffer.alloc(valueBytes, "x"), {}, scope());
      } catch (error) {
        expect((error as KvError).kind).toBe("bucket_full");
        return count;
      }
    }
  })
  .extend(
    "values",
    ({ store, bucket }) =>
      async (): Promise<number> =>
        (await store.getBucket(bucket, scope())).values,
  )
  .extend(
    "usedBytes",
    ({ store, bucket }) =>
      async (): Promise<number> =>
        (await store.getBucket(bucket, scope())).bytes,
  )
  /** Publishes empty values until the stream refuses one. Returns how many were stored. */
  .extend("overfill", ({ open, bucket }) => async (prefix: string): Promise<number> => {
    const js = jetstream(open.connection);
    for (let count = 0; ; count++) {
      try {
        await js.publish(subjectOf(bucket, `${prefix}.${count}`), "");
      } catch (error) {
        expect(String(error)).toContain("maximum bytes");
        return count;
      }
    }
  })
  .extend("streamLimit", ({ open, bucket }) => async (): Promise<number> => {
    const manager = await jetstreamManager(open.connection);
    return (await manager.streams.info(streamName(bucket))).config.max_bytes;
  });

describe.each([1, 3])("a full bucket with a history of %i", (history) => {
  it("is reported with the max_bytes that was asked for, and never goes past it by values", async ({
    store,
    bucket,
    fill,
  }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB, history }, scope());
    const count = await fill(100);
    expect(count).toBeGreaterThan(250);
    const info = await store.getBucket(bucket, scope());
    expect(info.maxBytes).toBe(64 * KIB);
    expect(info.bytes).toBeLessThanOrEqual(64 * KIB);
    expect(info.bytes).toBeGreaterThan(63 * KIB);
  });

  it("is not passed by many writers at once", async ({ store, bucket, usedBytes }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB, history }, scope());
    const put = (n: number): Promise<unknown> =>
      store.put(bucket, `k${n}`, Buffer.alloc(500), {}, scope()).catch((error: unknown) => error);
    await Promise.all(Array.from({ length: 300 }, (_, n) => put(n)));
    expect(await usedBytes()).toBeLessThanOrEqual(64 * KIB);
  });

  it("is passed by two copies that fill it at once by a quarter at most", async ({
    server,
    store,
    bucket,
    open,
    usedBytes,
  }) => {
    const other = await openStore(server.url);
    const maxBytes = 1_024 * KIB;
    await store.createBucket({ name: bucket, maxBytes, history }, scope());
    const fillFrom = async ({ store: copy }: OpenStore, name: string): Promise<void> => {
      for (let count = 0; ; count++) {
        try {
          await copy.put(bucket, `${name}.${count}`, Buffer.alloc(2_000), {}, scope());
        } catch (error) {
          expect((error as KvError).kind).toBe("bucket_full");
          return;
        }
      }
    };
    await Promise.all(
      [open, other].flatMap((copy, index) =>
        Array.from({ length: 16 }, (_, writer) => fillFrom(copy, `c${index}.${writer}`)),
      ),
    );
    expect(await usedBytes()).toBeLessThanOrEqual(1.25 * maxBytes);
    await other.close();
  });

  it("takes deletes and purges of every key, and values again", async ({ store, bucket, fill, values }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB, history }, scope());
    const count = await fill(0);
    for (let n = 0; n < count; n++)
      expect(await store.delete(bucket, `k${n}`, { purge: n % 2 === 0 }, scope())).toBeGreaterThan(0n);
    expect(await values()).toBe(0);
    await store.put(bucket, "again", Buffer.alloc(1_000), {}, scope());
  });

  it("takes a value over one that is as large, in a full history", async ({ store, bucket, fill }) => {
    await store.createBucket({ name: bucket, maxBytes: 16 * KIB, history }, scope());
    for (let n = 0; n < history; n++) await store.put(bucket, "over", Buffer.alloc(300), {}, scope());
    await fill(300);
    await store.put(bucket, "over", Buffer.alloc(300), {}, scope());
    await expectRefusal(store.put(bucket, "over", Buffer.alloc(3_000), {}, scope()), "bucket_full");
  });

  it("is not passed by many writes of one key that push the same revision out", async ({
    store,
    bucket,
    fill,
    usedBytes,
  }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB, history }, scope());
    await store.put(bucket, "over", Buffer.alloc(5_000), {}, scope());
    for (let n = 1; n < history; n++) await store.put(bucket, "over", bytes("v"), {}, scope());
    await fill(500);
    const put = (): Promise<unknown> =>
      store.put(bucket, "over", Buffer.alloc(4_900), {}, scope()).catch((error: unknown) => error);
    await Promise.all(Array.from({ length: 32 }, put));
    expect(await usedBytes()).toBeLessThanOrEqual(64 * KIB);
  });

  it("accepts writes forever when unique keys are put and deleted", async ({
    store,
    bucket,
    hubs,
    usedBytes,
    open,
  }) => {
    await store.createBucket({ name: bucket, maxBytes: 32 * KIB, history }, scope());
    const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    for (let n = 0; n < SESSIONS; n++) {
      await store.put(bucket, `session-${n}`, bytes("v"), {}, scope());
      await store.delete(bucket, `session-${n}`, {}, scope());
    }
    expect(await usedBytes()).toBeLessThanOrEqual(33 * KIB);
    const lines = Array.from({ length: SESSIONS }, (_, n) => [
      `put session-${n}=v @${2 * n + 1}`,
      `delete session-${n} @${2 * n + 2}`,
    ]);
    expect(await read(watcher, 2 * SESSIONS)).toEqual(lines.flat());
    // This copy of the service has all of it in memory; for another one it was compacted.
    const resumed = await hubs.watch(bucket, { filters: [], start: { revision: 1n } }, scope());
    expect(await read(resumed, 2 * SESSIONS)).toEqual(lines.flat());
    await Promise.all([watcher.return(), resumed.return()]);
    const other = newHubs(open.connection);
    await expect(
      other.watch(bucket, { filters: [], start: { revision: 1n } }, scope()),
    ).rejects.toMatchObject({ kind: "revision_compacted" });
    await other.close();
  });

  it("expires by its ttl", async ({ store, bucket, fill, hubs, values }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB, history, ttlMs: 3_600_000 }, scope());
    const count = await fill(0);
    const watcher = await hubs.watch(bucket, { filters: [], start: "now" }, scope());
    await store.updateBucket(bucket, { ttlMs: 1_000 }, scope());
    const lines = await read(watcher, count);
    expect(lines.every((line) => line.startsWith("expire"))).toBe(true);
    expect(await values()).toBe(0);
    await watcher.return();
  });
});

describe("a bucket that was made without headroom", () => {
  it("gets it when a delete needs it", async ({ store, bucket, open, fill, values }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB, history: 3 }, scope());
    const manager = await jetstreamManager(open.connection);
    const { config } = await manager.streams.info(streamName(bucket));
    const metadata = Object.fromEntries(
      Object.entries(config.metadata ?? {}).filter(([name]) => !name.includes("max_bytes")),
    );
    await manager.streams.update(streamName(bucket), { ...config, max_bytes: 16 * KIB, metadata });
    const count = await fill(0);
    for (let n = 0; n < count; n++) await store.delete(bucket, `k${n}`, {}, scope());
    expect(await values()).toBe(0);
    expect((await store.getBucket(bucket, scope())).maxBytes).toBe(16 * KIB);
  });

  it("is held to the limit that another program sets since", async ({ store, bucket, open }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB }, scope());
    const manager = await jetstreamManager(open.connection);
    const { config } = await manager.streams.info(streamName(bucket));
    await manager.streams.update(streamName(bucket), { ...config, max_bytes: 10_000 });
    expect((await store.getBucket(bucket, scope())).maxBytes).toBe(10_000);
  });

  it("takes deletes when max_bytes becomes less than what it holds", async ({ store, bucket, values }) => {
    await store.createBucket({ name: bucket, history: 2 }, scope());
    for (let n = 0; n < 100; n++) await store.put(bucket, `k${n}`, Buffer.alloc(2_000), {}, scope());
    await store.updateBucket(bucket, { maxBytes: 1_024 }, scope());
    await expectRefusal(store.put(bucket, "more", bytes("v"), {}, scope()), "bucket_full");
    for (let n = 0; n < 100; n++) await store.delete(bucket, `k${n}`, {}, scope());
    expect(await values()).toBe(0);
  });

  it("is bounded by the headroom for programs that know nothing of max_bytes", async ({
    store,
    bucket,
    open,
    usedBytes,
  }) => {
    await store.createBucket({ name: bucket, maxBytes: 64 * KIB }, scope());
    const js = jetstream(open.connection);
    const failure = await refusal(
      (async () => {
        for (let n = 0; ; n++) await js.publish(subjectOf(bucket, `f${n}`), Buffer.alloc(1_000));
      })(),
    ).catch((error: unknown) => error);
    expect(String(failure)).toContain("maximum bytes");
    expect(await usedBytes()).toBeLessThanOrEqual(64 * KIB * 1.5 + 65_536);
    await expectRefusal(store.put(bucket, "k", bytes("v"), {}, scope()), "bucket_full");
  });
});

describe.each([1, 5])("a bucket with a history of %i that another program overfills", (history) => {
  const MAX_BYTES = 32 * KIB;
  /** docs/durability.md: max_bytes and half of it, 64 KiB, and for the time of a delete 64 KiB more. */
  const SETTLED_BYTES = MAX_BYTES * 1.5 + 64 * KIB;

  it(`takes ${DELETES} deletes without a limit that grows`, async ({
    store,
    bucket,
    overfill,
    streamLimit,
  }) => {
    await store.createBucket({ name: bucket, maxBytes: MAX_BYTES, history }, scope());
    const count = await overfill("first");
    expect(count).toBeGreaterThan(200);
    for (let n = 0; n < DELETES; n++) {
      expect(await store.delete(bucket, `first.${n}`, {}, scope())).toBeGreaterThan(0n);
      await overfill(`more.${n}`);
      expect(await streamLimit()).toBeLessThanOrEqual(SETTLED_BYTES + 128 * KIB);
    }
    await vi.waitFor(async () => expect(await streamLimit()).toBe(SETTLED_BYTES), WAIT);
    expect((await store.getBucket(bucket, scope())).maxBytes).toBe(MAX_BYTES);
    await expectRefusal(store.get(bucket, `first.${DELETES - 1}`, 0n, scope()), "key_not_found");
  });

  it("takes 100 deletes at once", async ({ store, bucket, overfill, streamLimit }) => {
    await store.createBucket({ name: bucket, maxBytes: MAX_BYTES, history }, scope());
    await overfill("first");
    const deletes = Array.from({ length: 100 }, (_, n) => store.delete(bucket, `first.${n}`, {}, scope()));
    expect(Math.min(...(await Promise.all(deletes)).map(Number))).toBeGreaterThan(0);
    await vi.waitFor(async () => expect(await streamLimit()).toBe(SETTLED_BYTES), WAIT);
  });

  it("gets no higher limit when its max_bytes is set again", async ({
    store,
    bucket,
    overfill,
    streamLimit,
  }) => {
    await store.createBucket({ name: bucket, maxBytes: MAX_BYTES, history }, scope());
    for (let n = 0; n < 5; n++) {
      await overfill(`set.${n}`);
      await store.updateBucket(bucket, { maxBytes: MAX_BYTES }, scope());
      expect(await streamLimit()).toBe(SETTLED_BYTES);
    }
  });
});

describe("compaction", () => {
  it("removes what is older than the retention, by itself", async ({ server, bucket }) => {
    const quick = await openStore(server.url, { limits: { ...DEFAULT_LIMITS, tombstoneRetentionMs: 1 } });
    await quick.store.createBucket({ name: bucket, history: 5 }, scope());
    await quick.store.put(bucket, "gone", bytes("v"), {}, scope());
    await quick.store.put(bucket, "live", bytes("v"), {}, scope());
    await quick.store.delete(bucket, "gone", {}, scope());
    await vi.waitFor(
      () =>
        expectRefusal(
          quick.store.history(bucket, "gone", { limit: 0, pageToken: "" }, scope()),
          "key_not_found",
        ),
      WAIT,
    );
    expect(
      (await quick.store.history(bucket, "live", { limit: 0, pageToken: "" }, scope())).items,
    ).toHaveLength(1);
    expect(quick.store.compactedTombstones()).toBeGreaterThan(0);
    await quick.close();
  });

  it("leaves a key that was written again, also while it runs, and may run twice at once", async ({
    store,
    bucket,
    server,
    values,
  }) => {
    await store.createBucket({ name: bucket, history: 4 }, scope());
    const other = await openStore(server.url);
    for (let n = 0; n < 200; n++) {
      await store.put(bucket, `k${n}`, bytes("1"), {}, scope());
      await store.delete(bucket, `k${n}`, {}, scope());
    }
    await Promise.all([
      store.compactBucket(bucket, scope()),
      other.store.compactBucket(bucket, scope()),
      ...Array.from({ length: 200 }, (_, n) =>
        n % 2 === 0 ? store.put(bucket, `k${n}`, bytes("2"), {}, scope()) : Promise.resolve(0n),
      ),
    ]);
    expect(await values()).toBe(100);
    await other.close();
  });

  it("tells a watch that resumes from before it, and lets one resume from after it", async ({
    store,
    bucket,
    hubs,
  }) => {
    await store.createBucket({ name: bucket }, scope());
    for (const key of ["a", "b"]) await store.put(bucket, key, bytes("1"), {}, scope());
    await store.delete(bucket, "a", {}, scope());
    await store.put(bucket, "c", bytes("1"), {}, scope());
    expect(await store.compactBucket(bucket, scope())).toEqual({ removed: 1 });
    const resume = (revision: bigint): ReturnType<WatchHubs["watch"]> =>
      hubs.watch(bucket, { filters: [], start: { revision } }, scope());
    await expect(resume(3n)).rejects.toMatchObject({ kind: "revision_compacted", revision: 4n });
    const watcher = await resume(4n);
    expect(await read(watcher, 1)).toEqual(["put c=1 @4"]);
    await watcher.return();
  });
});

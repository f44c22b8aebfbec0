/** Watches on a real storage: how they end, and what they leave behind. */
import { describe, expect } from "vitest";
import type { WatchOptions } from "../../src/kv/watch.js";
import { TestBucket } from "./watch-bucket.js";
import { line, read, scope, subscriptions, tick } from "./watching.js";
import { IS_EXTENDED } from "../support/extended.js";
import { until } from "../support/until.js";
import { watchTest } from "./watch-test.js";

/** EXTENDED=1 opens many more. */
const OPENED = IS_EXTENDED ? 20_000 : 2_000;

const it = watchTest();

describe("an end", () => {
  it("comes with bucket_not_found when the bucket is deleted by this process, after what was sent", async ({
    bucketOf,
    watch,
    hubs,
  }) => {
    const bucket = await bucketOf();
    const watcher = await watch(bucket);
    const other = await watch(bucket, { start: "now" });
    await read(watcher, 1);
    await bucket.put("a", "1");
    await read(other, 1);
    await bucket.remove();
    hubs.bucketDeleted(bucket.name);
    expect(await read(watcher, 1)).toEqual(["put a=1 @1"]);
    await expect(watcher.next()).rejects.toMatchObject({ kind: "bucket_not_found" });
    expect(await watcher.next()).toEqual({ done: true, value: undefined });
    await expect(other.next()).rejects.toMatchObject({ kind: "bucket_not_found" });
  });

  it.for(["deleted", "deleted and made again"])(
    "comes with bucket_not_found when another process has %s the bucket",
    async (how, { bucketOf, watch, connection }) => {
      const bucket = await bucketOf();
      const watcher = await watch(bucket, { start: "now" });
      await bucket.remove();
      if (how !== "deleted") await TestBucket.create(connection, bucket.name);
      await expect(watcher.next()).rejects.toMatchObject({ kind: "bucket_not_found" });
    },
  );

  it("comes at once on return, also while next waits", async ({ bucketOf, watch, hubs }) => {
    const bucket = await bucketOf();
    const watcher = await watch(bucket, { start: "now" });
    const waiting = watcher.next();
    await watcher.return();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(hubs.stats().watchers).toBe(0);
  });

  it("comes with canceled when the caller cancels", async ({ bucketOf, hubs }) => {
    const bucket = await bucketOf();
    const abort = new AbortController();
    const watcher = await hubs.watch(bucket.name, { filters: [], start: "now" }, scope(abort.signal));
    const waiting = watcher.next();
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ kind: "canceled" });
    expect(hubs.stats().watchers).toBe(0);
  });

  it("comes with shutting_down and the revision to resume from when the service stops", async ({
    bucketOf,
    watch,
    hubs,
  }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    const idle = await watch(bucket, { start: "now" });
    const behind = await watch(bucket, { start: "now" });
    for (const value of ["2", "3"]) {
      await bucket.put("a", value);
      await read(idle, 1);
    }
    await hubs.close();
    await expect(idle.next()).rejects.toMatchObject({ kind: "shutting_down", revision: 4n });
    await expect(behind.next()).rejects.toMatchObject({ kind: "shutting_down", revision: 2n });
    await expect(watch(bucket)).rejects.toMatchObject({ kind: "shutting_down" });
    expect(await bucket.consumers()).toBe(0);
  });

  it("comes with slow_watcher for the one that does not read, and for no other", async ({
    hubsWith,
    bucketOf,
    watch,
  }) => {
    const hubs = hubsWith({ watchQueueEventsMax: 100 });
    const bucket = await bucketOf({ history: 64 });
    const slow = await watch(bucket, { start: "now" }, hubs);
    const slowWithFilter = await watch(bucket, { start: "now", filters: ["k"] }, hubs);
    const quick = await watch(bucket, { start: "now" }, hubs);
    const lines: string[] = [];
    for (let n = 1; n <= 150; n++) {
      await bucket.put("k", String(n));
      lines.push(...(await read(quick, 1)));
    }
    expect(lines).toHaveLength(150);
    for (const watcher of [slow, slowWithFilter]) {
      expect([watcher.queuedEvents, watcher.queuedBytes]).toEqual([0, 0]);
      await expect(watcher.next()).rejects.toMatchObject({ kind: "slow_watcher", revision: 1n });
    }
    expect(hubs.stats()).toMatchObject({ slowWatchers: 2, watchers: 1 });
  });

  it("comes with slow_watcher when bytes pile up, and says the first revision that was not handed out", async ({
    hubsWith,
    bucketOf,
    watch,
  }) => {
    const hubs = hubsWith({ watchQueueBytesMax: 10_000 });
    const bucket = await bucketOf();
    const slow = await watch(bucket, { start: "now" }, hubs);
    const quick = await watch(bucket, { start: "now" }, hubs);
    await bucket.put("first", "1");
    await read(slow, 1);
    for (let n = 0; n < 12; n++) {
      await quick.next();
      await bucket.put("k", "x".repeat(1_000));
    }
    await quick.next();
    await expect(slow.next()).rejects.toMatchObject({ kind: "slow_watcher", revision: 2n });
  });
});

describe("limits", () => {
  it("on watches in the process are held, and given back", async ({ hubsWith, bucketOf, watch }) => {
    const hubs = hubsWith({ watchesMax: 2 });
    const bucket = await bucketOf();
    const first = await watch(bucket, { start: "now" }, hubs);
    await watch(bucket, { start: "now" }, hubs);
    await expect(watch(bucket, { start: "now" }, hubs)).rejects.toMatchObject({ kind: "too_many_watches" });
    await first.return();
    await watch(bucket, { start: "now" }, hubs);
  });

  it("a watch that is never read holds a bounded part of a large snapshot, and its reader is given back", async ({
    hubsWith,
    bucketOf,
    watch,
  }) => {
    const hubs = hubsWith({ watchQueueEventsMax: 64 });
    const bucket = await bucketOf();
    const puts: Promise<bigint>[] = [];
    for (let n = 0; n < 2_000; n++) puts.push(bucket.put(`k${n}`, "1"));
    await Promise.all(puts);
    const watcher = await watch(bucket, {}, hubs);
    await until("the queue is full", () => {
      return hubs.stats().hubs[0]?.queuedEvents === watcher.queuedEvents && watcher.queuedEvents >= 32;
    });
    // The reader's consumer goes as well as the hub's stays: nothing waits anywhere for one who does not read.
    await until("one consumer is left", async () => (await bucket.consumers()) <= 1);
    expect(watcher.queuedEvents).toBeLessThanOrEqual(64);
    const lines = await read(watcher, 2_001);
    expect(new Set(lines).size).toBe(2_001);
    expect(lines.at(-1)).toBe("snapshot_end @2000");
  });

  it("poll hands out what is there, one by one", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf({ history: 5 });
    const watcher = await watch(bucket, { start: "now" });
    const follower = await watch(bucket, { start: "now" });
    for (let n = 1; n <= 3; n++) await bucket.put("a", String(n));
    await read(follower, 3);
    const lines: string[] = [];
    for (let event = watcher.poll(); event !== undefined; event = watcher.poll()) lines.push(line(event));
    expect(lines).toEqual(["put a=1 @1", "put a=2 @2", "put a=3 @3"]);
  });

  it(
    `${OPENED} watches opened and dropped leave nothing behind`,
    { timeout: 300_000 },
    async ({ connection, bucketOf, watch, hubs }) => {
      const before = subscriptions(connection);
      const bucket = await bucketOf();
      for (let n = 0; n < 20; n++) await bucket.put(`k.${n}`, "1");
      const starts: WatchOptions["start"][] = ["now", "snapshot", "history", { revision: 5n }];
      const filters = [[], ["k.1"], ["k.*", "k.>"], ["k.1*"]];
      let round = 0;
      const openAndDrop = async (): Promise<void> => {
        while (round++ < OPENED) {
          const watcher = await watch(bucket, {
            start: starts[round % 4] ?? "now",
            filters: filters[(round >> 2) % 4] ?? [],
            ...(round % 3 === 0 ? { progressIntervalMs: 100 } : {}),
          });
          if (round % 5 === 0) void watcher.next();
          if (round % 7 === 0) await tick();
          await watcher.return();
        }
      };
      await Promise.all(Array.from({ length: 50 }, openAndDrop));
      await until("no hub is left", () => hubs.stats().hubs.length === 0);
      await hubs.close();
      expect(hubs.stats()).toEqual({ hubs: [], watchers: 0, slowWatchers: 0 });
      expect(await bucket.consumers()).toBe(0);
      expect(subscriptions(connection)).toBeLessThan(before + 1);
    },
  );
});

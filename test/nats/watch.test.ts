/** Watches on a real storage: what they show, in which order, and how they end. */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect } from "vitest";
import { TestBucket } from "./watch-bucket.js";
import { read, scope } from "./watching.js";
import { watchTest } from "./watch-test.js";

const it = watchTest();

const MARKER_TTL_MS = 1_000;
/** While an entry is younger, nothing that was removed since can have lost its marker. */
const YOUNG_MS = MARKER_TTL_MS / 2;

describe("a snapshot", () => {
  it("shows present values in the order of revisions, then its end, then changes", async ({
    bucketOf,
    watch,
  }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    await bucket.put("b", "1");
    await bucket.put("a", "2");
    await bucket.put("gone", "1");
    await bucket.delete("gone");
    const watcher = await watch(bucket);
    expect(await read(watcher, 3)).toEqual(["put b=1 @2", "put a=2 @3", "snapshot_end @5"]);
    await bucket.put("c", "1");
    await bucket.delete("a");
    await bucket.purge("b");
    expect(await read(watcher, 3)).toEqual(["put c=1 @6", "delete a @7", "purge b @8"]);
    await watcher.return();
  });

  it("of an empty bucket has an end", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    const watcher = await watch(bucket);
    expect(await read(watcher, 1)).toEqual(["snapshot_end @0"]);
    await bucket.put("a", "1");
    expect(await read(watcher, 1)).toEqual(["put a=1 @1"]);
  });
});

describe("a start", () => {
  it("at a revision includes that revision", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    for (const key of ["a", "b", "c", "d"]) await bucket.put(key, "1");
    const watcher = await watch(bucket, { start: { revision: 3n } });
    expect(await read(watcher, 3)).toEqual(["put c=1 @3", "put d=1 @4", "snapshot_end @4"]);
  });

  it("at the newest revision + 1 has nothing to catch up", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    const watcher = await watch(bucket, { start: { revision: 2n } });
    expect(await read(watcher, 1)).toEqual(["snapshot_end @1"]);
    await bucket.put("a", "2");
    expect(await read(watcher, 1)).toEqual(["put a=2 @2"]);
  });

  it("at a revision shows deletes, and what replaced revisions that are gone", async ({
    bucketOf,
    watch,
  }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    await bucket.put("b", "1");
    await bucket.put("a", "2");
    await bucket.delete("b");
    const watcher = await watch(bucket, { start: { revision: 1n } });
    expect(await read(watcher, 3)).toEqual([
      "put a=2 @3 after 2 superseded",
      "delete b @4",
      "snapshot_end @4",
    ]);
  });

  it("at a recent revision shows replaced revisions too, where this copy has seen them", async ({
    bucketOf,
    watch,
  }) => {
    const bucket = await bucketOf();
    const live = await watch(bucket, { start: "now" });
    for (const value of ["1", "2", "3"]) {
      await bucket.put("a", value);
      await read(live, 1);
    }
    const watcher = await watch(bucket, { start: { revision: 2n } });
    expect(await read(watcher, 3)).toEqual(["put a=2 @2", "put a=3 @3", "snapshot_end @3"]);
  });

  it("now shows changes only", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    const watcher = await watch(bucket, { start: "now" });
    await bucket.put("a", "2");
    expect(await read(watcher, 1)).toEqual(["put a=2 @2"]);
  });

  it("with history shows every entry that is kept", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf({ history: 2 });
    for (const value of ["1", "2", "3"]) await bucket.put("a", value);
    await bucket.delete("a");
    const watcher = await watch(bucket, { start: "history" });
    expect(await read(watcher, 3)).toEqual(["put a=3 @3", "delete a @4", "snapshot_end @4"]);
  });

  it("at a revision in the future is refused with the newest", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    await expect(watch(bucket, { start: { revision: 3n } })).rejects.toMatchObject({
      kind: "revision_in_future",
      revision: 1n,
    });
  });

  it("in a bucket that was deleted and recreated is refused", async ({ bucketOf, watch, connection }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    const bucketCreatedAtMs = await bucket.createdAtMs();
    const resume = { start: { revision: 2n, bucketCreatedAtMs } };
    await (await watch(bucket, resume)).return();
    await bucket.remove();
    const again = await TestBucket.create(connection, bucket.name);
    await again.put("a", "1");
    await again.put("a", "2");
    await expect(watch(again, resume)).rejects.toMatchObject({ kind: "revision_in_future", revision: 2n });
    // Also where a hub of the first bucket is still there.
    expect(await read(await watch(again), 2)).toEqual(["put a=2 @2", "snapshot_end @2"]);
  });

  it("before a purge of all that was stored is refused with the oldest usable revision", async ({
    bucketOf,
    watch,
  }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    await bucket.put("b", "1");
    await bucket.purgeStream();
    await expect(watch(bucket, { start: { revision: 2n } })).rejects.toMatchObject({
      kind: "revision_compacted",
      revision: 3n,
    });
    expect(await read(await watch(bucket, { start: { revision: 3n } }), 1)).toEqual(["snapshot_end @2"]);
  });

  it.for([0n, -1n])("at revision %s is refused", async (revision, { bucketOf, watch }) => {
    const bucket = await bucketOf();
    await expect(watch(bucket, { start: { revision } })).rejects.toMatchObject({ kind: "invalid_argument" });
  });

  it("in a bucket that does not exist is refused", async ({ hubs }) => {
    await expect(hubs.watch("nowhere", { filters: [], start: "now" }, scope())).rejects.toMatchObject({
      kind: "bucket_not_found",
    });
  });
});

describe("entries that age", () => {
  it("end with an expire event where the storage leaves a marker", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf({ ttlMs: 1_000 });
    const watcher = await watch(bucket);
    await bucket.put("a", "1");
    expect(await read(watcher, 3)).toEqual(["snapshot_end @0", "put a=1 @1", "expire a @2"]);
  });

  it("make a start at a revision whose changes may have aged out impossible", async ({
    bucketOf,
    watch,
    hubs,
    hubsWith,
  }) => {
    const bucket = await bucketOf({ ttlMs: 1_000, markerTtlMs: 1_000 });
    const live = await watch(bucket, { start: "now" });
    await bucket.put("a", "1");
    await read(live, 2);
    await bucket.put("b", "1");
    expect(await read(live, 2)).toEqual(["put b=1 @3", "expire b @4"]);
    // From memory this copy of the service still has all. Another one can't know whether the expiry of `a` aged out.
    const [first] = await read(await watch(bucket, { start: { revision: 2n } }), 1);
    expect(first).toBe("expire a @2");
    await hubs.close();
    const otherCopy = hubsWith({});
    await expect(watch(bucket, { start: { revision: 2n } }, otherCopy)).rejects.toMatchObject({
      kind: "revision_compacted",
    });
    expect(await read(await watch(bucket, { start: { revision: 5n } }, otherCopy), 1)).toEqual([
      "snapshot_end @4",
    ]);
  });

  it("allow a start at an old revision after which nothing was removed", async ({
    bucketOf,
    watch,
    hubs,
    hubsWith,
  }) => {
    const bucket = await bucketOf({ ttlMs: 3_600_000, markerTtlMs: MARKER_TTL_MS });
    for (const key of ["a", "b", "c"]) await bucket.put(key, "1");
    await delay(YOUNG_MS + 100);
    const watcher = await watch(bucket, { start: { revision: 2n } });
    expect(await read(watcher, 3)).toEqual(["put b=1 @2", "put c=1 @3", "snapshot_end @3"]);
    await bucket.put("b", "2");
    // This copy of the service has all of it in memory.
    const lines = ["put b=1 @2", "put c=1 @3", "put b=2 @4", "snapshot_end @4"];
    expect(await read(watcher, 1)).toEqual(["put b=2 @4"]);
    expect(await read(await watch(bucket, { start: { revision: 2n } }), 4)).toEqual(lines);
    await hubs.close();
    const otherCopy = hubsWith({});
    for (let isYoung = false; !isYoung;) {
      const putMs = performance.now();
      const newest = await bucket.put("b", "3");
      const refused = watch(bucket, { start: { revision: 2n } }, otherCopy);
      await expect(refused).rejects.toMatchObject({ kind: "revision_compacted" });
      isYoung = performance.now() - putMs < YOUNG_MS;
      // A machine that stalls refuses that revision too.
      if (isYoung) expect(await refused.catch((error: unknown) => error)).toHaveProperty("revision", newest);
    }
  });
});

describe("filters", () => {
  const cases: [filters: string[], keys: string[]][] = [
    [[], ["user.1", "user.1.name", "user-7", "order.1", "a b"]],
    [["user.*"], ["user.1"]],
    [["user.>"], ["user.1", "user.1.name"]],
    [["user-*"], ["user-7"]],
    [
      ["user.*", "order.1"],
      ["user.1", "order.1"],
    ],
    [
      ["user.*", "*.1", "user.>"],
      ["user.1", "user.1.name", "order.1"],
    ],
    [["a b", "nothing"], ["a b"]],
    [["*er*.1"], ["user.1", "order.1"]],
  ];
  it.for(cases)(
    "%j choose the keys, in a snapshot and live",
    async ([filters, keys], { bucketOf, watch }) => {
      const bucket = await bucketOf();
      const all = ["user.1", "user.1.name", "user-7", "order.1", "a b"];
      for (const key of all) await bucket.put(key, "1");
      const watcher = await watch(bucket, { filters });
      const snapshot = keys.map((key) => `put ${key}=1 @${all.indexOf(key) + 1}`);
      expect(await read(watcher, keys.length + 1)).toEqual([...snapshot, "snapshot_end @5"]);
      for (const key of all) await bucket.put(key, "2");
      const live = keys.map((key) => `put ${key}=2 @${all.indexOf(key) + 6}`);
      expect(await read(watcher, keys.length)).toEqual(live);
    },
  );

  it("that are malformed are refused", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    await expect(watch(bucket, { filters: ["a.>.b"] })).rejects.toMatchObject({ kind: "invalid_argument" });
  });
});

describe("options", () => {
  it("ignoreDeletes leaves out tombstones and keysOnly values", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf();
    await bucket.put("a", "1");
    const watcher = await watch(bucket, { ignoreDeletes: true, keysOnly: true });
    expect(await read(watcher, 2)).toEqual(["put a= @1", "snapshot_end @1"]);
    await bucket.delete("a");
    await bucket.put("a", "2");
    expect(await read(watcher, 1)).toEqual(["put a= @3"]);
  });

  it("previous brings what a change replaced, where the history has it", async ({ bucketOf, watch }) => {
    const bucket = await bucketOf({ history: 3 });
    await bucket.put("a", "1");
    const watcher = await watch(bucket, { previous: true });
    expect(await read(watcher, 2)).toEqual(["put a=1 @1", "snapshot_end @1"]);
    for (const value of ["2", "3"]) await bucket.put("a", value);
    await bucket.put("b", "1");
    expect(await read(watcher, 3)).toEqual(["put a=2 @2 was 1", "put a=3 @3 was 2", "put b=1 @4"]);
    const later = await watch(bucket, { previous: true, start: { revision: 2n } });
    expect(await read(later, 2)).toEqual(["put a=2 @2 was 1", "put a=3 @3 was 2"]);
  });

  it("progress marks go on without changes, and say how far the bucket is where other keys change", async ({
    bucketOf,
    watch,
  }) => {
    const bucket = await bucketOf();
    const watcher = await watch(bucket, { filters: ["mine"], progressIntervalMs: 100 });
    expect(await read(watcher, 1)).toEqual(["snapshot_end @0"]);
    expect(await read(watcher, 1)).toEqual(["progress @0"]);
    await bucket.put("other", "1");
    let mark = "";
    while (mark !== "progress @1") [mark = ""] = await read(watcher, 1);
    await watcher.return();
  });
});

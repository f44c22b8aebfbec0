/** Keys of other programs whose `=` is no escape of ours: not shown, and no call, watch or connection suffers from them. */
import { describe, expect } from "vitest";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import type { WatchOptions } from "../../src/kv/watch.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import { storeTest } from "../support/fixtures.js";
import { until } from "../support/until.js";
import { bytes, expectRefusal, scope } from "./store-contract.js";
import { read } from "./watching.js";

const MALFORMED = [
  "=",
  "user-=",
  "user-=Z",
  "user-=C3",
  "user-=C3=28",
  "user-=00",
  "user-=c3=a9",
  "user-%",
  "user-%C3",
];
const ALL = { limit: 0, pageToken: "" };

const it = storeTest()
  .extend("writeForeign", ({ connection, bucket }) => async (keys: readonly string[]): Promise<void> => {
    for (const key of keys)
      await connection.request(subjectPrefix(bucket) + key, "foreign", { timeout: 60_000 });
  })
  .extend(
    "watch",
    ({ hubs, bucket }) =>
      (options: WatchOptions): Promise<Watcher> =>
        hubs.watch(bucket, options, scope()),
  );

describe("a malformed escape that another program wrote", () => {
  it("is not shown to a live watch with a glob, which continues", async ({
    store,
    bucket,
    watch,
    writeForeign,
  }) => {
    await store.createBucket({ name: bucket }, scope());
    const watcher = await watch({ filters: ["user-*"], start: "now" });
    await writeForeign(MALFORMED);
    const revision = await store.put(bucket, "user-1", bytes("x"), {}, scope());
    expect(await read(watcher, 1)).toEqual([`put user-1=x @${revision}`]);
    await watcher.return();
  });

  it.for([1, 5])(
    "is not shown by snapshots, histories and resumed watches, history %i",
    async (history, { store, bucket, watch, writeForeign }) => {
      await store.createBucket({ name: bucket, history }, scope());
      await writeForeign(MALFORMED);
      const revision = await store.put(bucket, "user-1", bytes("x"), {}, scope());
      for (const start of ["snapshot", "history", { revision: 1n }] as const) {
        for (const filters of [["user-*"], ["*-1", "user-*"], []]) {
          const watcher = await watch({ filters, start, previous: true });
          expect(await read(watcher, 2)).toEqual([`put user-1=x @${revision}`, `snapshot_end @${revision}`]);
          await watcher.return();
        }
      }
    },
  );

  it("is not shown by a snapshot of more keys than one request answers for", async ({
    store,
    bucket,
    watch,
    writeForeign,
    connection,
  }) => {
    await store.createBucket({ name: bucket }, scope());
    await writeForeign(MALFORMED);
    for (let index = 0; index < 1_100; index++)
      connection.publish(`${subjectPrefix(bucket)}user-${index}`, "x");
    // The server may describe the stream before it has stored what was published before the request.
    await until("the stream has all of it", async () => {
      const info = await connection.request(`$JS.API.STREAM.INFO.${streamName(bucket)}`);
      const { state } = info.json<{ readonly state: { readonly last_seq: number } }>();
      return state.last_seq === MALFORMED.length + 1_100;
    });
    const watcher = await watch({ filters: ["user-*"], start: "snapshot" });
    const lines = await read(watcher, 1_101);
    expect(lines.filter((line) => line.startsWith("put user-"))).toHaveLength(1_100);
    expect(lines.at(-1)).toMatch(/^snapshot_end/);
    await watcher.return();
  });

  it("is not shown by lists, counts and gets, and its key can't be read under another name", async ({
    store,
    bucket,
    writeForeign,
  }) => {
    await store.createBucket({ name: bucket }, scope());
    await writeForeign(MALFORMED);
    await store.put(bucket, "user-1", bytes("x"), {}, scope());
    for (const filters of [["user-*"], ["*"], [">"], []])
      expect((await store.listKeys(bucket, filters, ALL, scope())).items).toEqual(["user-1"]);
    expect((await store.getBucket(bucket, scope())).values).toBe(1);
    for (const key of MALFORMED) await expectRefusal(store.get(bucket, key, 0n, scope()), "key_not_found");
  });

  it("does not disturb a list while others write", async ({ store, bucket, writeForeign }) => {
    await store.createBucket({ name: bucket }, scope());
    await writeForeign(MALFORMED);
    await store.put(bucket, "user-1", bytes("x"), {}, scope());
    const writing = Array.from({ length: 50 }, () => store.put(bucket, "user-2", bytes("y"), {}, scope()));
    const { items } = await store.listKeys(bucket, ["user-*"], ALL, scope());
    await Promise.all(writing);
    expect(items).toContain("user-1");
    expect(items.every((key) => /^user-[12]$/.test(key))).toBe(true);
  });
});

/** Calls that come while a key index is loaded, and what a load reads. */
import { headers } from "@nats-io/transport-node";
import { expect } from "vitest";
import { subjectOf } from "../../src/kv/names.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";
import type { Store } from "../../src/kv/store.js";

const KEYS = 20_000;
const LISTS = 128;

const it = storeTest()
  /** A store that has loaded no index. */
  .extend("freshStore", async ({ server }, { onCleanup }): Promise<Store> => {
    const opened = await openStore(server.url);
    onCleanup(() => opened.close());
    return opened.store;
  })
  /** A bucket of it. */
  .extend("created", async ({ freshStore }): Promise<string> => {
    const bucket = newBucketName();
    await freshStore.createBucket({ name: bucket }, scope());
    return bucket;
  });

const keyOf = (key: number): string => `tenant-${key % 100}.session.${String(key).padStart(8, "0")}`;

it("128 lists and counts of a bucket that is not loaded share one load, and none fails", async ({
  connection,
  freshStore,
  created,
}) => {
  for (let key = 0; key < KEYS; key++) connection.publish(subjectOf(created, keyOf(key)), bytes("v"));
  await connection.flush();
  await freshStore.put(created, "last", bytes("v"), {}, scope());
  const lists = Array.from({ length: LISTS }, (_, list) =>
    freshStore.listKeys(created, [`tenant-${list % 100}.>`], { limit: 1_000, pageToken: "" }, scope()),
  );
  const counts = Array.from({ length: 8 }, () => freshStore.getBucket(created, scope()));
  for (const [list, { items, revision }] of (await Promise.all(lists)).entries()) {
    expect(revision).toBe(BigInt(KEYS + 1));
    expect(items).toHaveLength(KEYS / 100);
    expect(items[0]).toBe(keyOf(list % 100));
  }
  for (const { values } of await Promise.all(counts)) expect(values).toBe(KEYS + 1);
  expect(freshStore.keyIndexes()).toMatchObject({ buckets: 1, keys: KEYS + 1, loads: 1 });
});

it("a load passes over what a stream stores beside the bucket's keys", async ({
  connection,
  freshStore,
  created,
}) => {
  const stream = `$JS.API.STREAM.UPDATE.KV_APP_${created}`;
  const info = await connection.request(`$JS.API.STREAM.INFO.KV_APP_${created}`);
  const { config } = info.json<{ config: { subjects: string[] } }>();
  const subjects = [...config.subjects, `other.${created}.subject`];
  await connection.request(stream, JSON.stringify({ ...config, subjects }));
  await connection.request(`other.${created}.subject`, "not a key");
  const withType = headers();
  withType.set("Content-Type", "text/plain");
  await connection.request(subjectOf(created, "a"), "v", { headers: withType, timeout: 5_000 });
  await connection.request(`other.${created}.subject`, "not a key either");
  await freshStore.put(created, "b c", bytes("v"), {}, scope());
  const page = await freshStore.listKeys(created, [], { limit: 0, pageToken: "" }, scope());
  expect(page.items).toEqual(["a", "b c"]);
});

it("a list without a deadline of its client waits for the load longer than other calls may take", async ({
  connection,
  freshStore,
  created,
}) => {
  for (let key = 0; key < KEYS; key++) connection.publish(subjectOf(created, keyOf(key)), bytes("v"));
  await connection.flush();
  // The created is checked once, before its index is loaded.
  await freshStore.get(created, keyOf(0), 0n, scope());
  const context = {
    ...scope(1),
    extendDeadline(): void {
      this.deadlineMs = performance.now() + 60_000;
    },
  };
  const page = await freshStore.listKeys(created, ["tenant-1.>"], { limit: 0, pageToken: "" }, context);
  expect(page.items).toHaveLength(KEYS / 100);
});

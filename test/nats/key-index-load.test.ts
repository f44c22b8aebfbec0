/** Calls that come while a key index is loaded, and what a load reads. */
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { subjectOf } from "../../src/kv/names.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";

const KEYS = 20_000;
const LISTS = 128;

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

const keyOf = (key: number): string => `tenant-${key % 100}.session.${String(key).padStart(8, "0")}`;

it("128 lists and counts of a bucket that is not loaded share one load, and none fails", async () => {
  const opened = await openStore(server.url);
  const { store } = opened;
  try {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket }, scope());
    for (let key = 0; key < KEYS; key++) nats.publish(subjectOf(bucket, keyOf(key)), bytes("v"));
    await nats.flush();
    await store.put(bucket, "last", bytes("v"), {}, scope());
    const lists = Array.from({ length: LISTS }, (_, list) =>
      store.listKeys(bucket, [`tenant-${list % 100}.>`], { limit: 1_000, pageToken: "" }, scope()),
    );
    const counts = Array.from({ length: 8 }, () => store.getBucket(bucket, scope()));
    for (const [list, { items, revision }] of (await Promise.all(lists)).entries()) {
      expect(revision).toBe(BigInt(KEYS + 1));
      expect(items).toHaveLength(KEYS / 100);
      expect(items[0]).toBe(keyOf(list % 100));
    }
    for (const { values } of await Promise.all(counts)) expect(values).toBe(KEYS + 1);
    expect(store.keyIndexes()).toMatchObject({ buckets: 1, keys: KEYS + 1, loads: 1 });
  } finally {
    await opened.close();
  }
});

it("a load passes over what a stream stores beside the bucket's keys", async () => {
  const opened = await openStore(server.url);
  const { store } = opened;
  try {
    const bucket = newBucketName();
    await store.createBucket({ name: bucket }, scope());
    const stream = `$JS.API.STREAM.UPDATE.KV_APP_${bucket}`;
    const info = await nats.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`);
    const { config } = info.json<{ config: { subjects: string[] } }>();
    const subjects = [...config.subjects, `other.${bucket}.subject`];
    await nats.request(stream, JSON.stringify({ ...config, subjects }));
    await nats.request(`other.${bucket}.subject`, "not a key");
    const withType = headers();
    withType.set("Content-Type", "text/plain");
    await nats.request(subjectOf(bucket, "a"), "v", { headers: withType, timeout: 5_000 });
    await nats.request(`other.${bucket}.subject`, "not a key either");
    await store.put(bucket, "b c", bytes("v"), {}, scope());
    const page = await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
    expect(page.items).toEqual(["a", "b c"]);
  } finally {
    await opened.close();
  }
});

/** What watches do when their consumer on the server vanishes, or their connection is lost, with and without a loss. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect } from "../support/nats-connection.js";
import { expect } from "vitest";
import { streamName } from "../../src/kv/names.js";
import { storeTest } from "../support/fixtures.js";
import { newBucketName } from "./store-contract.js";
import { TestBucket } from "./watch-bucket.js";
import { newHubs, read, scope } from "./watching.js";

const test = storeTest();

/** Hubs that may not configure streams to republish: consumers serve. */
const consumersTest = test.extend("consumerHubs", ({ connection }, { onCleanup }) => {
  const hubs = newHubs(connection, {}, false, () => Promise.reject(new Error("not permitted")));
  onCleanup(() => hubs.close());
  return hubs;
});

async function deleteConsumers(connection: NatsConnection, bucket: TestBucket): Promise<void> {
  const { consumers } = await jetstreamManager(connection);
  for await (const { name } of consumers.list(streamName(bucket.name))) {
    await consumers.delete(streamName(bucket.name), name);
  }
}

consumersTest(
  "a consumer that vanishes is recreated, and nothing is missed or shown again",
  async ({ connection, consumerHubs: hubs }) => {
    const bucket = await TestBucket.create(connection, newBucketName());
    await bucket.put("a", "1");
    const watcher = await hubs.watch(bucket.name, { filters: [], start: "now" }, scope());
    await bucket.put("b", "1");
    expect(await read(watcher, 1)).toEqual(["put b=1 @2"]);
    await deleteConsumers(connection, bucket);
    await bucket.put("c", "1");
    await bucket.put("d", "1");
    expect(await read(watcher, 2)).toEqual(["put c=1 @3", "put d=1 @4"]);
    expect(hubs.stats().hubs[0]?.restarts).toBe(1);
  },
);

test("changes that were purged meanwhile end the watch with the oldest usable revision", async ({
  connection,
  hubs,
  link,
}) => {
  const bucket = await TestBucket.create(connection, newBucketName());
  const cuttable = await connect({ servers: link.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
  const away = newHubs(cuttable);
  const watcher = await away.watch(bucket.name, { filters: ["mine"], start: "now" }, scope());
  await bucket.put("mine", "1");
  expect(await read(watcher, 1)).toEqual(["put mine=1 @1"]);
  link.isDown = true;
  link.cut();
  await bucket.put("mine", "2");
  await bucket.purgeStream();
  link.heal();
  await expect(watcher.next()).rejects.toMatchObject({ kind: "revision_compacted", revision: 3n });
  await away.close();
  await cuttable.close();
  const again = await hubs.watch(bucket.name, { filters: [], start: { revision: 3n } }, scope());
  await bucket.put("mine", "3");
  expect(await read(again, 2)).toEqual(["snapshot_end @2", "put mine=3 @3"]);
});

consumersTest(
  "revisions that later ones replaced meanwhile are no loss",
  async ({ connection, consumerHubs: hubs }) => {
    const bucket = await TestBucket.create(connection, newBucketName());
    const watcher = await hubs.watch(bucket.name, { filters: [], start: "now" }, scope());
    await deleteConsumers(connection, bucket);
    for (const value of ["1", "2", "3"]) await bucket.put("a", value);
    let last = "";
    while (!last.startsWith("put a=3 @3")) [last = ""] = await read(watcher, 1);
  },
);

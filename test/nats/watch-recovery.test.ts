/** What watches do when their consumer on the server vanishes, or their connection is lost, with and without a loss. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { streamName } from "../../src/kv/names.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { TestBucket } from "./watch-bucket.js";
import { openFaultyLink } from "./faulty-link.js";
import { newHubs, read, scope } from "./watching.js";

let server: TestNatsServer;
let connection: NatsConnection;
let hubs: WatchHubs;

beforeAll(async () => {
  server = await startNatsServer();
  connection = await connect({ servers: server.url });
});
afterAll(async () => {
  await connection.close();
  await server.remove();
});
beforeEach(() => {
  hubs = newHubs(connection);
});
afterEach(() => hubs.close());

/** Hubs that may not configure streams to republish: consumers serve. */
function consumerHubs(): WatchHubs {
  return newHubs(connection, {}, false, () => Promise.reject(new Error("not permitted")));
}

async function deleteConsumers(bucket: TestBucket): Promise<void> {
  const { consumers } = await jetstreamManager(connection);
  for await (const { name } of consumers.list(streamName(bucket.name))) {
    await consumers.delete(streamName(bucket.name), name);
  }
}

test("a consumer that vanishes is made anew, and nothing is missed, old entries are not shown again", async () => {
  const bucket = await TestBucket.create(connection, "vanished");
  await bucket.put("a", "1");
  hubs = consumerHubs();
  const watcher = await hubs.watch(bucket.name, { filters: [], start: "now" }, scope());
  await bucket.put("b", "1");
  expect(await read(watcher, 1)).toEqual(["put b=1 @2"]);
  await deleteConsumers(bucket);
  await bucket.put("c", "1");
  await bucket.put("d", "1");
  expect(await read(watcher, 2)).toEqual(["put c=1 @3", "put d=1 @4"]);
  expect(hubs.stats().hubs[0]?.restarts).toBe(1);
});

test("changes that were purged meanwhile end the watch with the oldest usable revision", async () => {
  const bucket = await TestBucket.create(connection, "purged");
  const link = await openFaultyLink(server.port);
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
  await link.close();
  const again = await hubs.watch(bucket.name, { filters: [], start: { revision: 3n } }, scope());
  await bucket.put("mine", "3");
  expect(await read(again, 2)).toEqual(["snapshot_end @2", "put mine=3 @3"]);
});

test("revisions that later ones replaced meanwhile are no loss", async () => {
  const bucket = await TestBucket.create(connection, "replaced");
  hubs = consumerHubs();
  const watcher = await hubs.watch(bucket.name, { filters: [], start: "now" }, scope());
  await deleteConsumers(bucket);
  for (const value of ["1", "2", "3"]) await bucket.put("a", value);
  let last: string | undefined;
  while (last !== "put a=3 @3") [last] = await read(watcher, 1);
});

/** A call waits for the storage as long as its caller does: it repeats reads that get no answer, and writes that were not sent. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { WatchHubs } from "../../src/nats/watch/hubs.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { holdRequests } from "./held-requests.js";
import { bytes, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

let server: TestNatsServer;
let open: OpenStore;
let hubs: WatchHubs;

beforeAll(async () => {
  server = await startNatsServer();
});
afterAll(() => server.remove());
beforeEach(async () => {
  open = await openStore(server.url);
  hubs = new WatchHubs({ link: open.bulk, feeds: open.feeds, isClustered: false, limits: DEFAULT_LIMITS });
});
afterEach(async () => {
  await hubs.close();
  await open.close();
});

it("a watch starts although the first three requests for the stream's state get no answer", async () => {
  await open.store.createBucket({ name: "slow", history: 1, ttlMs: 0 }, scope());
  const held = holdRequests(open.bulk.connection, "STREAM.INFO.KV_APP_slow");
  const watching = hubs.watch("slow", { filters: [], start: "now" }, scope(30_000));
  await Promise.race([held.seen(4), watching]);
  held.release();
  await watching;
});

it("a watch whose deadline expires while the stream's state is read is refused then", async () => {
  await open.store.createBucket({ name: "silent", history: 1, ttlMs: 0 }, scope());
  const held = holdRequests(open.bulk.connection, "STREAM.INFO.KV_APP_silent");
  const watching = hubs.watch("silent", { filters: [], start: "now" }, scope(100));
  await expect(watching).rejects.toMatchObject({ kind: "unavailable" });
  held.release();
});

it("a write is applied although the event loop stands still for longer than an attempt may take", async () => {
  // An attempt may take a quarter of the bucket's window, which is its ttl.
  await open.store.createBucket({ name: "busy", history: 1, ttlMs: 1_000 }, scope());
  await open.store.put("busy", "k", bytes("1"), {}, scope());
  const writing = open.store.put("busy", "k", bytes("2"), {}, scope(30_000));
  for (let turn = 0; turn < 3; turn++) {
    await nextTurn();
    const untilMs = performance.now() + 300;
    while (performance.now() < untilMs);
  }
  expect(await writing).toBe(2n);
});

/** Entries that expire: never served past their lifetime, told to watches once, whoever wrote them. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { WatchOptions } from "../../src/kv/store.js";
import type { WatchHubs } from "../../src/nats/watch/hubs.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { bytes, expectRefusal, historyOf, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { line, newHubs, read, tick } from "./watching.js";

const TTL_MS = 1_000;

let server: TestNatsServer;
let open: OpenStore;
let hubs: WatchHubs;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer({ syncAlways: true });
  open = await openStore(server.url);
  hubs = newHubs(open.connection);
});
afterAll(async () => {
  await hubs.close();
  await open.close();
  await server.remove();
});
beforeEach(() => {
  bucket = newBucketName();
});

const watch = (start: WatchOptions["start"]): ReturnType<WatchHubs["watch"]> =>
  hubs.watch(bucket, { filters: [], start }, scope());

/** Publishes as another program does. */
async function publish(key: string, value: string, fields: Record<string, string>): Promise<void> {
  const block = headers();
  for (const [name, field] of Object.entries(fields)) block.set(name, field);
  await jetstream(open.connection).publish(subjectOf(bucket, key), value, { headers: block });
}

/** Restarts the server when what was written before is past its lifetime. */
async function restartAfterTtl(): Promise<void> {
  const overMs = Date.now() + TTL_MS;
  await server.stop("SIGKILL");
  while (Date.now() <= overMs) await tick();
  await server.start();
  const isUp = (): Promise<boolean> =>
    open.store.ping(scope()).then(
      () => true,
      () => false,
    );
  while (!open.bulk.isConnected || !(await isUp())) await tick();
}

async function expectGone(key: string): Promise<void> {
  const { store } = open;
  await expectRefusal(store.get(bucket, key, 0n, scope()), "key_not_found");
  expect((await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items).toEqual([]);
  expect((await store.getBucket(bucket, scope())).values).toBe(0);
}

/** Lines of a watch's events up to and with the first that begins so. */
async function readUntil(watcher: Awaited<ReturnType<typeof watch>>, prefix: string): Promise<string[]> {
  for (const lines: string[] = []; ;) {
    const [next = ""] = await read(watcher, 1);
    lines.push(next);
    if (next.startsWith(prefix)) return lines;
  }
}

describe.each([1, 3])("a bucket with a ttl and a history of %i", (history) => {
  beforeEach(() => open.store.createBucket({ name: bucket, ttlMs: TTL_MS, history }, scope()));

  it("does not tell watches of a tombstone that ages out, neither of ours nor of another program's", async () => {
    const watcher = await watch("now");
    await open.store.put(bucket, "ours", bytes("1"), {}, scope());
    await open.store.put(bucket, "theirs", bytes("1"), {}, scope());
    await open.store.delete(bucket, "ours", {}, scope());
    await publish("theirs", "", { "KV-Operation": "DEL" });
    await open.store.put(bucket, "last", bytes("1"), {}, scope());
    expect(await readUntil(watcher, "expire last")).toEqual([
      "put ours=1 @1",
      "put theirs=1 @2",
      "delete ours @3",
      "delete theirs @4",
      "put last=1 @5",
      expect.stringMatching(/^expire last/) as string,
    ]);
    await watcher.return();
  });

  it("serves no expired key after a restart, before the storage has removed it", async () => {
    await open.store.put(bucket, "k", bytes("1"), {}, scope());
    await restartAfterTtl();
    await expectGone("k");
    await expectRefusal(historyOf(open.store, bucket, "k", scope()), "key_not_found");
    const watcher = await watch("snapshot");
    expect(line((await watcher.next()).value as never)).toMatch(/^snapshot_end/);
    await watcher.return();
  });

  it("takes an expired key for absent in conditions and deletes", async () => {
    await open.store.put(bucket, "k", bytes("1"), {}, scope());
    await open.store.put(bucket, "d", bytes("1"), {}, scope());
    await restartAfterTtl();
    expect(await open.store.delete(bucket, "d", {}, scope())).toBe(0n);
    await open.store.put(bucket, "k", bytes("2"), { condition: "if_absent" }, scope());
    expect(Buffer.from((await open.store.get(bucket, "k", 0n, scope())).value).toString()).toBe("2");
  });
});

describe("a key that another program gave a lifetime, in a bucket without a ttl", () => {
  it("expires with a word to watches, in reads, lists and counts", async () => {
    await open.store.createBucket({ name: bucket }, scope());
    const watcher = await watch("now");
    await publish("lease", "1", { "Nats-TTL": "1s" });
    expect(await readUntil(watcher, "expire")).toEqual(["put lease=1 @1", "expire lease @2"]);
    await watcher.return();
    await expectGone("lease");
  });

  it("is not served after a restart, before the storage has removed it", async () => {
    await open.store.createBucket({ name: bucket }, scope());
    await publish("lease", "1", { "Nats-TTL": "1" });
    await publish("kept", "1", { "Nats-TTL": "never" });
    await restartAfterTtl();
    await expectRefusal(open.store.get(bucket, "lease", 0n, scope()), "key_not_found");
    const { items } = await open.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope());
    expect(items).toEqual(["kept"]);
  });

  it("does not make watches that resume lose their place, where no entry expires", async () => {
    await open.store.createBucket({ name: bucket }, scope());
    const { config } = await (await jetstreamManager(open.connection)).streams.info(streamName(bucket));
    expect(config.subject_delete_marker_ttl).toBe(300_000_000_000);
    for (const value of ["1", "2"]) await open.store.put(bucket, "k", bytes(value), {}, scope());
    const watcher = await watch({ revision: 1n });
    expect(await read(watcher, 1)).toEqual(["put k=2 @2"]);
    await watcher.return();
  });
});

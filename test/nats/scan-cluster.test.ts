/** Scans on a cluster of three that has lost its leader: the copy that is left answers direct gets, and has no consumers. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { Store } from "../../src/kv/store.js";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import { until } from "../support/until.js";
import { createOnCluster, leaderOf } from "./on-clusters.js";
import { bytes, newBucketName, scope } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";

/** More values than are read with direct gets in any case. */
const KEYS = 1_300;
/** Of these keys, one in so many is in the group `a`: the values of the group do not stand close together. */
const GROUPS = 5;
const IN_FLIGHT = 200;
/** How long a request of a scan may take. Longer than a pass may take to begin. */
const CALL_MS = 15_000;
/** For the start of the cluster on a busy machine. */
const TIMEOUT_MS = 300_000;

let cluster: TestCluster;
let writer: OpenStore;

beforeAll(async () => {
  cluster = await startNatsCluster();
  const urls = cluster.servers.map(({ url }) => url);
  writer = await openStore(urls, { isClustered: true, replicas: 3 });
});
afterAll(async () => {
  await writer.close();
  await cluster.remove();
});

it("read all values with direct gets, soon", { timeout: TIMEOUT_MS }, async () => {
  const bucket = newBucketName();
  await createOnCluster(writer.store, { name: bucket });
  const keys = Array.from({ length: GROUPS * KEYS }, (_, n) => `${n % GROUPS === 0 ? "a" : "b"}.${n}`);
  for (let at = 0; at < keys.length; at += IN_FLIGHT)
    await Promise.all(
      keys.slice(at, at + IN_FLIGHT).map((key) => writer.store.put(bucket, key, bytes(key), {}, scope())),
    );
  const leader = await leaderOf(writer.connection, bucket);
  const left = cluster.servers.find((_, node) => `n${node}` !== leader);
  if (left === undefined) throw new Error("no follower");
  const limits = { ...DEFAULT_LIMITS, callTimeoutMsMax: CALL_MS };
  // Opened after the writes: they have no value in memory. One for each scan, as a copy remembers that there is no leader.
  const open = (): Promise<OpenStore> => openStore(left.url, { isClustered: true, replicas: 3, limits });
  const readers = { "": await open(), "a.": await open() };
  try {
    for (const { store } of Object.values(readers)) {
      // Loads the key index, which needs a leader.
      await store.listKeys(bucket, [], { limit: 1, pageToken: "" }, scope());
    }
    await Promise.all(cluster.servers.filter((server) => server !== left).map((server) => server.stop()));
    for (const [prefix, { store }] of Object.entries(readers)) {
      await until("the copy that is left answers", () => answers(store, bucket));
      const expected = keys.filter((key) => key.startsWith(prefix)).toSorted();
      expect(await scanned(store, bucket, prefix)).toEqual(expected);
    }
  } finally {
    for (const reader of Object.values(readers)) await reader.close();
  }
});

async function answers(store: Store, bucket: string): Promise<boolean> {
  const outcome = await store
    .get(bucket, "a.0", 0n, scope(1_000), "eventual")
    .catch((error: unknown) => error);
  if (outcome instanceof Error && !(outcome instanceof KvError)) throw outcome;
  return !(outcome instanceof KvError);
}

/** The keys, each of which is its own value. */
async function scanned(store: Store, bucket: string, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  const options = { filters: [], prefix, startKey: "", endKey: "", limit: 0 };
  const flags = { isReverse: false, keysOnly: false, allowNewer: false };
  for await (const { entries } of await store.scan(bucket, { ...options, ...flags }, scope(), "eventual"))
    for (const { key, value } of entries) {
      expect(Buffer.from(value).toString()).toBe(key);
      keys.push(key);
    }
  return keys;
}

/** Changes of one bucket through two copies of the service at the same time. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startNatsCluster } from "../support/nats-cluster.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { KvError } from "../../src/kv/errors.js";
import type { BucketConfig } from "../../src/kv/store.js";
import { newBucketName, refusal, scope } from "./store-contract.js";
import { holdRequests } from "./held-requests.js";
import { type OpenStore, openStore } from "./store-support.js";

const PAIRS = 200;
const CLUSTER_ROUNDS = 20;

let server: TestNatsServer;
let one: OpenStore;
let other: OpenStore;

beforeAll(async () => {
  server = await startNatsServer();
  [one, other] = [await openStore(server.url), await openStore(server.url)];
});
afterAll(async () => {
  await one.close();
  await other.close();
  await server.remove();
});

describe("two copies that change one bucket at the same time", { timeout: 120_000 }, () => {
  it("lose none of the changes", async () => {
    const bucket = newBucketName();
    await one.store.createBucket({ name: bucket }, scope());
    let lost = 0;
    for (let pair = 1; pair <= PAIRS; pair++) {
      const change = { description: `pair ${pair}`, history: (pair % 60) + 1 };
      await Promise.all([
        one.store.updateBucket(bucket, { description: change.description }, scope()),
        other.store.updateBucket(bucket, { history: change.history }, scope()),
      ]);
      const { description, history } = await one.store.getBucket(bucket, scope());
      if (description !== change.description || history !== change.history) lost++;
    }
    expect(lost).toBe(0);
  });

  it("never give a recreated bucket the configuration of the deleted one", async () => {
    const bucket = newBucketName();
    await one.store.createBucket({ name: bucket, maxValueSize: 1_000, history: 3 }, scope());
    const held = holdRequests(one.connection, "STREAM.UPDATE");
    const update = one.store.updateBucket(bucket, { description: "changed" }, scope());
    await held.seen(1);
    const config = { name: bucket, maxValueSize: 2_000, history: 5, ttlMs: 60_000, description: "new" };
    const recreated = recreate(config);
    await Promise.race([recreated, isWaiting(other)]);
    held.release();
    await update;
    await recreated;
    expect(await one.store.getBucket(bucket, scope())).toMatchObject(config);
  });

  it("never delete a bucket that was recreated since", async () => {
    const bucket = newBucketName();
    await one.store.createBucket({ name: bucket }, scope());
    const held = holdRequests(one.connection, "STREAM.DELETE");
    const deleted = one.store.deleteBucket(bucket, scope());
    await held.seen(1);
    const recreated = recreate({ name: bucket, history: 5 }).catch((error: unknown) => error);
    await Promise.race([recreated, isWaiting(other)]);
    held.release();
    await deleted;
    const outcome = await recreated;
    if (outcome === undefined) expect((await one.store.getBucket(bucket, scope())).history).toBe(5);
    else expect(outcome).toMatchObject({ kind: "bucket_not_found" });
  });

  it("are told so where one does not finish, and go on when its lease is over", async () => {
    const bucket = newBucketName();
    await one.store.createBucket({ name: bucket }, scope());
    const held = holdRequests(one.connection, "STREAM.UPDATE");
    const stuck = refusal(one.store.updateBucket(bucket, { history: 2 }, scope(300)));
    await held.seen(1);
    const refused = await refusal(other.store.updateBucket(bucket, { history: 3 }, scope(300)));
    expect(refused.kind).toBe("unavailable");
    expect(refused.message).toContain("is being changed through another copy of the service");
    expect((await stuck).kind).toBe("outcome_unknown");
    held.release();
    // Applied late, within the lease that is still held: the next change begins with it.
    await other.store.updateBucket(bucket, { description: "later" }, scope(30_000));
    expect(await one.store.getBucket(bucket, scope())).toMatchObject({ history: 2, description: "later" });
  });
});

it("copies on a cluster lose none of the changes", { timeout: 120_000 }, async () => {
  const cluster = await startNatsCluster();
  const options = { isClustered: true, replicas: 3 };
  const copies = await Promise.all(cluster.servers.map(({ url }) => openStore(url, options)));
  try {
    const [first, second, third] = copies.map(({ store }) => store);
    const bucket = newBucketName();
    while ((await first?.createBucket({ name: bucket }, scope(30_000)).catch(refusalOf)) === "unavailable");
    for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
      const change = { description: `round ${round}`, history: round + 1, ttlMs: 60_000 + round };
      await Promise.all([
        first?.updateBucket(bucket, { description: change.description }, scope(30_000)),
        second?.updateBucket(bucket, { history: change.history }, scope(30_000)),
        third?.updateBucket(bucket, { ttlMs: change.ttlMs }, scope(30_000)),
      ]);
      expect(await second?.getBucket(bucket, scope(30_000))).toMatchObject(change);
    }
  } finally {
    await Promise.all(copies.map((copy) => copy.close()));
    await cluster.remove();
  }
});

/** The kind of a refusal. A new cluster refuses until all of its nodes know each other. */
function refusalOf(error: unknown): string {
  if (error instanceof KvError) return error.kind;
  throw error;
}

async function recreate(config: BucketConfig): Promise<void> {
  await other.store.deleteBucket(config.name, scope());
  await other.store.createBucket(config, scope());
}

/** Resolves when a copy asked for a lease that it did not get, and asks again. */
function isWaiting({ connection }: OpenStore): Promise<void> {
  return holdRequests(connection, "$KV.SYS_bucket_locks.", false).seen(2);
}

describe("a bucket that is recreated at once", { timeout: 60_000 }, () => {
  it("has no entry of the deleted one, though nats-server leaves some in its stream now and then", async () => {
    const bucket = newBucketName();
    const { store } = one;
    for (let round = 0; round < 300; round++) {
      await store.createBucket({ name: bucket }, scope());
      await expect(store.get(bucket, "k", 0n, scope())).rejects.toMatchObject({ kind: "key_not_found" });
      await store.put(bucket, "k", Buffer.from("v"), {}, scope());
      await store.deleteBucket(bucket, scope());
    }
  });
});

/** Changes of one bucket through two copies of the service at the same time. */
import { describe, expect } from "vitest";
import { startNatsCluster } from "../support/nats-cluster.js";
import { storeTest } from "../support/fixtures.js";
import { IS_EXTENDED } from "../support/extended.js";
import type { BucketConfig } from "../../src/kv/bucket.js";
import { newBucketName, refusal, refusalAtDeadline, scope } from "./store-contract.js";
import { holdRequests } from "./held-requests.js";
import { createOnCluster } from "./on-clusters.js";
import { type OpenStore, openStore } from "./store-support.js";

const PAIRS = IS_EXTENDED ? 200 : 60;
const CLUSTER_ROUNDS = IS_EXTENDED ? 20 : 8;
const RECREATIONS = IS_EXTENDED ? 300 : 100;

const it = storeTest();

describe("two copies that change one bucket at the same time", { timeout: 120_000 }, () => {
  it("lose none of the changes", async ({ open, otherCopy }) => {
    const bucket = newBucketName();
    await open.store.createBucket({ name: bucket }, scope());
    let lost = 0;
    for (let pair = 1; pair <= PAIRS; pair++) {
      const change = { description: `pair ${pair}`, history: (pair % 60) + 1 };
      await Promise.all([
        open.store.updateBucket(bucket, { description: change.description }, scope()),
        otherCopy.store.updateBucket(bucket, { history: change.history }, scope()),
      ]);
      const { description, history } = await open.store.getBucket(bucket, scope());
      if (description !== change.description || history !== change.history) lost++;
    }
    expect(lost).toBe(0);
  });

  it("never give a recreated bucket the configuration of the deleted one", async ({ open, otherCopy }) => {
    const bucket = newBucketName();
    await open.store.createBucket({ name: bucket, maxValueSize: 1_000, history: 3 }, scope());
    const held = holdRequests(open.connection, "STREAM.UPDATE");
    const update = open.store.updateBucket(bucket, { description: "changed" }, scope());
    await held.seen(1);
    const config = { name: bucket, maxValueSize: 2_000, history: 5, ttlMs: 60_000, description: "new" };
    const recreated = recreate(otherCopy, config);
    await Promise.race([recreated, isWaiting(otherCopy)]);
    held.release();
    await update;
    await recreated;
    expect(await open.store.getBucket(bucket, scope())).toMatchObject(config);
  });

  it("never delete a bucket that was recreated since", async ({ open, otherCopy }) => {
    const bucket = newBucketName();
    await open.store.createBucket({ name: bucket }, scope());
    const held = holdRequests(open.connection, "STREAM.DELETE");
    const deleted = open.store.deleteBucket(bucket, scope());
    await held.seen(1);
    const recreated = recreate(otherCopy, { name: bucket, history: 5 }).catch((error: unknown) => error);
    await Promise.race([recreated, isWaiting(otherCopy)]);
    held.release();
    await deleted;
    const outcome = await recreated;
    if (outcome === undefined) expect((await open.store.getBucket(bucket, scope())).history).toBe(5);
    else expect(outcome).toMatchObject({ kind: "bucket_not_found" });
  });

  it("are refused while one does not finish, and continue when its lease expires", async ({
    open,
    otherCopy,
  }) => {
    const bucket = newBucketName();
    await open.store.createBucket({ name: bucket }, scope());
    const held = holdRequests(open.connection, "STREAM.UPDATE");
    const aborter = new AbortController();
    const stuck = refusal(open.store.updateBucket(bucket, { history: 2 }, scope(60_000, aborter.signal)));
    await held.seen(1);
    const refused = await refusalAtDeadline(
      () => isWaiting(otherCopy),
      (within) => otherCopy.store.updateBucket(bucket, { history: 3 }, within),
    );
    aborter.abort();
    expect(refused.kind).toBe("unavailable");
    expect(refused.message).toContain("is changing the bucket");
    expect((await stuck).kind).toBe("outcome_unknown");
    held.release();
    // Applied late, within the lease that is still held: the next change begins with it.
    await otherCopy.store.updateBucket(bucket, { description: "later" }, scope(30_000));
    expect(await open.store.getBucket(bucket, scope())).toMatchObject({ history: 2, description: "later" });
  });
});

it("copies on a cluster lose none of the changes", { timeout: 120_000 }, async () => {
  const cluster = await startNatsCluster();
  const options = { isClustered: true, replicas: 3 };
  const copies = await Promise.all(cluster.servers.map(({ url }) => openStore(url, options)));
  try {
    const [first, second, third] = copies.map(({ store }) => store);
    const bucket = newBucketName();
    if (first === undefined) throw new Error("no copies");
    await createOnCluster(first, { name: bucket });
    for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
      const change = { description: `round ${round}`, history: round + 1, ttlMs: 60_000 + round };
      await Promise.all([
        first.updateBucket(bucket, { description: change.description }, scope(30_000)),
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

async function recreate({ store }: OpenStore, config: BucketConfig): Promise<void> {
  await store.deleteBucket(config.name, scope());
  await store.createBucket(config, scope());
}

/** Resolves when a copy asked for a lease that it did not get, and asks again. */
function isWaiting({ connection }: OpenStore): Promise<void> {
  return holdRequests(connection, "$KV.SYS_bucket_locks.", false).seen(2);
}

describe("a bucket that is recreated at once", () => {
  it("has no entry of the deleted one, though nats-server leaves some in its stream now and then", async ({
    open,
  }) => {
    const bucket = newBucketName();
    const { store } = open;
    for (let round = 0; round < RECREATIONS; round++) {
      await store.createBucket({ name: bucket }, scope());
      await expect(store.get(bucket, "k", 0n, scope())).rejects.toMatchObject({ kind: "key_not_found" });
      await store.put(bucket, "k", Buffer.from("v"), {}, scope());
      await store.deleteBucket(bucket, scope());
    }
  });
});

/** Writes and reads that name their bucket, while another copy of the service deletes and recreates it. */
import { describe, expect } from "vitest";
import type { Store } from "../../src/kv/store.js";
import type { WriteOptions } from "../../src/kv/writes.js";
import { entryInBucket } from "../../src/service/entry-in-bucket.js";
import { storeTest } from "../support/fixtures.js";
import { holdRequests } from "./held-requests.js";
import { bytes, expectRefusal, scope, text } from "./store-contract.js";

/** A bucket that another copy of the service deletes and recreates. */
const it = storeTest()
  .extend("createWith", ({ otherCopy, bucket }) => async (value: string): Promise<void> => {
    await otherCopy.store.createBucket({ name: bucket }, scope());
    await otherCopy.store.put(bucket, "k", bytes(value), {}, scope());
  })
  .extend("recreate", ({ otherCopy, bucket, createWith }) => async (): Promise<void> => {
    await otherCopy.store.deleteBucket(bucket, scope());
    await createWith("new");
  })
  .extend("createdAtMs", ({ store, bucket }) => async (): Promise<number> => {
    return await store.bucketCreatedAtMs(bucket, scope(), "current");
  });
it.beforeEach(({ createWith }) => createWith("old"));

type Write = (store: Store, bucket: string, options: WriteOptions) => Promise<bigint>;
const WRITES: [string, Write][] = [
  ["put", (store, bucket, options) => store.put(bucket, "k", bytes("v"), options, scope())],
  ["delete", (store, bucket, options) => store.delete(bucket, "k", options, scope())],
];

describe.each(WRITES)("%s", (_, write) => {
  const condition = { ifRevision: 1n };

  it("writes into the bucket that it names", async ({ store, bucket, createdAtMs }) => {
    expect(await write(store, bucket, { condition, bucketCreatedAtMs: await createdAtMs() })).toBe(2n);
  });

  it("is refused where the bucket was recreated since, with the revision in the new one", async ({
    store,
    otherCopy,
    bucket,
    recreate,
    createdAtMs,
  }) => {
    const bucketCreatedAtMs = await createdAtMs();
    await recreate();
    for (const options of [{ condition, bucketCreatedAtMs }, { bucketCreatedAtMs }]) {
      const refused = await expectRefusal(write(store, bucket, options), "revision_mismatch");
      expect(refused).toMatchObject({ revision: 1n, bucketCreatedAtMs: await createdAtMs() });
    }
    const { value } = await otherCopy.store.get(bucket, "k", 0n, scope());
    expect(text(value)).toBe("new");
  });

  it("is never acknowledged where the bucket is recreated while it is sent", async ({
    store,
    open,
    bucket,
    recreate,
    createdAtMs,
  }) => {
    const bucketCreatedAtMs = await createdAtMs();
    const held = holdRequests(open.connection, `$KV.APP_${bucket}.k`);
    const written = write(store, bucket, { condition, bucketCreatedAtMs });
    await held.seen(1);
    await recreate();
    held.release();
    await expectRefusal(written, "outcome_unknown");
  });
});

it("an entry that is read with its bucket is of that bucket, also where it is recreated in between", async ({
  store,
  open,
  bucket,
  recreate,
  createdAtMs,
}) => {
  await store.get(bucket, "k", 0n, scope());
  const held = holdRequests(open.connection, `STREAM.INFO.KV_APP_${bucket}`);
  const request = { bucket, key: "k", revision: 0n };
  const read = entryInBucket(store, request, scope(), "strong", true);
  await held.seen(1);
  await recreate();
  held.release();
  const { entry, bucketCreatedAtMs } = await read;
  expect(text(entry.value)).toBe("new");
  expect(bucketCreatedAtMs).toBe(await createdAtMs());
});

/** In about one of 20, nats-server 2.15.1 leaves the old stream's last message, and its id, to the new one. */
const RECREATIONS = 60;

describe("a write with an idempotency key", () => {
  it("is stored again where the bucket was recreated since, however soon", async ({
    store,
    otherCopy,
    bucket,
  }) => {
    const missing: number[] = [];
    for (let n = 0; n < RECREATIONS; n++) {
      const write = (): Promise<bigint> =>
        store.put(bucket, "keyed", bytes("v"), { idempotencyKey: "same" }, scope());
      await write();
      await otherCopy.store.deleteBucket(bucket, scope());
      await otherCopy.store.createBucket({ name: bucket }, scope());
      const revision = await write();
      const entry = await otherCopy.store.get(bucket, "keyed", 0n, scope()).catch(() => undefined);
      if (entry?.revision !== revision) missing.push(n);
    }
    expect(missing).toEqual([]);
  });
});

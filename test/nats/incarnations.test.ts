/** Writes and reads that name their bucket, while another copy of the service deletes and recreates it. */
import { describe, expect } from "vitest";
import type { WriteOptions } from "../../src/kv/store.js";
import { entryInBucket } from "../../src/service/entry-in-bucket.js";
import { storeTest } from "../support/fixtures.js";
import { holdRequests } from "./held-requests.js";
import { bytes, expectRefusal, scope } from "./store-contract.js";
import type { OpenStore } from "./store-support.js";

let server: TestNatsServer;
let one: OpenStore;
let other: OpenStore;
let bucket: string;

beforeAll(async () => {
  server = await startNatsServer();
  [one, other] = [await openStore(server.url), await openStore(server.url)];
});
afterAll(async () => {
  await one.close();
  await other.close();
  await server.remove();
});
beforeEach(async () => {
  bucket = newBucketName();
  await create("old");
});

async function create(value: string): Promise<void> {
  await other.store.createBucket({ name: bucket }, scope());
  await other.store.put(bucket, "k", bytes(value), {}, scope());
}

async function recreate(): Promise<void> {
  await other.store.deleteBucket(bucket, scope());
  await create("new");
}

const createdAtMs = async (): Promise<number> => one.store.bucketCreatedAtMs(bucket, scope(), "current");
const valueOf = async (): Promise<string> =>
  Buffer.from((await other.store.get(bucket, "k", 0n, scope())).value).toString();

describe.each([
  ["put", (options: object) => one.store.put(bucket, "k", bytes("v"), options, scope())],
  ["delete", (options: object) => one.store.delete(bucket, "k", options, scope())],
])("%s", (_, write) => {
  const condition = { ifRevision: 1n };

  it("writes into the bucket that it names", async () => {
    expect(await write({ condition, bucketCreatedAtMs: await createdAtMs() })).toBe(2n);
  });

  it("is refused where the bucket was recreated since, with the revision in the new one", async () => {
    const bucketCreatedAtMs = await createdAtMs();
    await recreate();
    for (const options of [{ condition, bucketCreatedAtMs }, { bucketCreatedAtMs }]) {
      const refused = await expectRefusal(write(options), "revision_mismatch");
      expect(refused).toMatchObject({ revision: 1n, bucketCreatedAtMs: await createdAtMs() });
    }
    expect(await valueOf()).toBe("new");
  });

  it("is never acknowledged where the bucket is recreated while it is sent", async () => {
    const bucketCreatedAtMs = await createdAtMs();
    const held = holdRequests(one.connection, `$KV.APP_${bucket}.k`);
    const written = write({ condition, bucketCreatedAtMs });
    await held.seen(1);
    await recreate();
    held.release();
    await expectRefusal(written, "outcome_unknown");
  });
});

it("an entry that is read with its bucket is of that bucket, also where it is recreated in between", async () => {
  await one.store.get(bucket, "k", 0n, scope());
  const held = holdRequests(one.connection, `STREAM.INFO.KV_APP_${bucket}`);
  const request = { bucket, key: "k", revision: 0n };
  const read = entryInBucket(one.store, request, scope(), "strong", true);
  await held.seen(1);
  await recreate();
  held.release();
  const { entry, bucketCreatedAtMs } = await read;
  expect(Buffer.from(entry.value).toString()).toBe("new");
  expect(bucketCreatedAtMs).toBe(await createdAtMs());
});

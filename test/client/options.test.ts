/** Options, TTLs, metadata, JSON and ensureBucket of the SDK, on a real service. */
import { describe, expect } from "vitest";
import {
  type Bucket,
  type Client,
  createClient,
  type KeyValue,
  KvBucketDiffersError,
  KvConflictError,
  KvNotFoundError,
} from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { refusal } from "./support.js";

const METADATA = { author: "Ann", note: " grüße \r\n…" };

const it = serviceTest()
  .extend("client", { scope: "file" }, ({ service }): Client => createClient({ serverUrl: service.url }))
  .extend("kv", { scope: "file" }, ({ client }): KeyValue => client.kv())
  .extend("bucket", async ({ kv }): Promise<Bucket> =>
    kv.bucket((await kv.createBucket({ name: freshName() })).name),
  );

describe("an option with an unknown name", () => {
  const wrong = { ttl: 5 } as object;
  it.for<[string, (on: { client: Client; kv: KeyValue; bucket: Bucket }) => unknown]>([
    ["put", ({ bucket }) => bucket.put("k", "v", wrong)],
    ["create", ({ bucket }) => bucket.create("k", "v", wrong)],
    ["update", ({ bucket }) => bucket.update("k", "v", 1n, wrong)],
    ["touch", ({ bucket }) => bucket.touch("k", wrong)],
    ["get", ({ bucket }) => bucket.get("k", wrong)],
    ["get", ({ bucket }) => bucket.tryGet("k", wrong)],
    ["delete", ({ bucket }) => bucket.delete("k", wrong)],
    ["purge", ({ bucket }) => bucket.purge("k", wrong)],
    ["listKeys", ({ bucket }) => bucket.listKeys([], wrong)],
    ["keys", ({ bucket }) => bucket.keys([], wrong).next()],
    ["history", ({ bucket }) => bucket.history("k", wrong)],
    ["watch", ({ bucket }) => bucket.watch([], wrong)],
    ["importEntries", ({ bucket }) => bucket.importEntries([], 0n, wrong)],
    ["getMany", ({ bucket }) => bucket.getMany(["k"], wrong)],
    ["scan", ({ bucket }) => bucket.scan(wrong)],
    ["watchCommits", ({ bucket }) => bucket.watchCommits(">", wrong)],
    ["deleteKeys", ({ bucket }) => bucket.deleteKeys(">", wrong)],
    ["commit", ({ bucket }) => bucket.atomic().commit(wrong)],
    ["lock", ({ bucket }) => bucket.lock("k", wrong)],
    ["elect", ({ bucket }) => bucket.elect("k", wrong)],
    ["createBucket", ({ kv }) => kv.createBucket({ name: "b", ...wrong })],
    ["createBucket", ({ kv }) => kv.createBucket({ name: "b" }, wrong)],
    ["ensureBucket", ({ kv }) => kv.ensureBucket({ name: "b", ...wrong })],
    ["updateBucket", ({ kv }) => kv.updateBucket("b", wrong)],
    ["getBucketInfo", ({ kv }) => kv.getBucketInfo("b", wrong)],
    ["listBuckets", ({ kv }) => kv.listBuckets(wrong)],
    ["listEnvironments", ({ kv }) => kv.listEnvironments(wrong)],
    ["deleteBucket", ({ kv }) => kv.deleteBucket("b", wrong)],
    ["compactBucket", ({ kv }) => kv.compactBucket("b", wrong)],
    ["createClient", () => createClient(wrong)],
    ["list", ({ client }) => client.apiKeys().list(wrong)],
    ["create", ({ client }) => client.apiKeys().create({ name: "n", scopes: [], ...wrong })],
  ])(
    "is refused by %s, which names it and those that it has",
    async ([method, call], { client, kv, bucket }) => {
      const error = await Promise.resolve()
        .then(() => call({ client, kv, bucket }))
        .then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
      expect(error).toBeInstanceOf(TypeError);
      expect((error as TypeError).message).toMatch(
        new RegExp(`^${method} has no option "ttl"; its options are \\w+(, \\w+)*\\.$`),
      );
      expect(await bucket.listKeys()).toEqual([]);
    },
  );
});

describe("TTLs and metadata", () => {
  it("are stored with a value, and shown", async ({ bucket }) => {
    await bucket.put("k", "v", { ttlSeconds: 60, metadata: METADATA });
    const entry = await bucket.get("k");
    expect((entry.expiresAt?.getTime() ?? 0) - entry.createdAt.getTime()).toBe(60_000);
    expect(entry.metadata).toEqual(METADATA);
    expect((await bucket.history("k"))[0]?.metadata).toEqual(METADATA);
    for await (const event of bucket.watch("k", { keysOnly: true })) {
      expect(event).toMatchObject({ metadata: METADATA, expiresAt: entry.expiresAt });
      break;
    }
  });

  it("are changed by touch, which keeps the value", async ({ bucket }) => {
    const { revision } = await bucket.put("k", { a: 1 }, { ttlSeconds: 60, metadata: METADATA });
    await bucket.touch("k", { ttlSeconds: 90, ifRevision: revision });
    const touched = await bucket.get("k");
    expect((touched.expiresAt?.getTime() ?? 0) - touched.createdAt.getTime()).toBe(90_000);
    expect([touched.json(), touched.metadata]).toEqual([{ a: 1 }, METADATA]);
    await refusal(bucket.touch("k", { ifRevision: revision }), KvConflictError);
    await bucket.touch("k");
    expect((await bucket.get("k")).expiresAt).toBeUndefined();
    await refusal(bucket.touch("none"), KvNotFoundError, { reason: "key_not_found" });
  });
});

describe("JSON.stringify", () => {
  it("writes every object of the SDK", async ({ bucket, kv, client }) => {
    const result = await bucket.put("k", "v", { ttlSeconds: 60, metadata: METADATA });
    expect(result).toEqual({ revision: 1n });
    expect(JSON.stringify(result)).toBe('{"revision":1}');
    const entry = JSON.parse(JSON.stringify(await bucket.get("k"))) as Record<string, unknown>;
    expect(entry).toMatchObject({
      key: "k",
      value: "dg==",
      revision: 1,
      operation: "put",
      metadata: METADATA,
    });
    const events: unknown[] = [];
    for await (const event of bucket.watch([], { marks: true, progressIntervalMs: 100 })) {
      events.push(JSON.parse(JSON.stringify(event)));
      if (event.type === "progress") break;
    }
    expect(events).toMatchObject([
      { type: "put", key: "k", revision: 1 },
      { type: "snapshot_end", revision: 1 },
      { type: "progress", revision: 1 },
    ]);
    const error = await refusal(bucket.create("k", "w"), KvConflictError);
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ reason: "key_exists", revision: 1 });
    expect(JSON.parse(JSON.stringify(await kv.getBucketInfo(bucket.name)))).toMatchObject({ revision: 1 });
    const lock = await bucket.lock("lock");
    expect(JSON.parse(JSON.stringify(lock))).toEqual({ name: "lock", fencingToken: 2, isHeld: true });
    await lock.release();
    const imported = await bucket.importEntries(
      [{ key: "i", value: new Uint8Array(0), operation: "put", contentType: "" }],
      3n,
    );
    expect(JSON.stringify(imported)).toBe('{"imported":1,"revision":4}');
    expect(JSON.stringify([bucket, kv, client, client.apiKeys(), bucket.watch()])).not.toContain(
      "authorization",
    );
  });
});

describe("ensureBucket", () => {
  it("creates a bucket that does not exist, and returns one that has the settings", async ({ kv }) => {
    const name = freshName();
    const created = await kv.ensureBucket({ name, history: 3, ttlSeconds: 60 });
    expect(created).toMatchObject({ name, history: 3 });
    expect(await kv.ensureBucket({ name, history: 3, ttlSeconds: 60 })).toEqual(created);
    expect(await kv.ensureBucket({ name })).toEqual(created);
  });

  it("says what differs, and changes nothing", async ({ kv }) => {
    const name = freshName();
    await kv.createBucket({ name, history: 3, description: "d" });
    const error = await refusal(
      kv.ensureBucket({ name, history: 0, description: "d", ttlSeconds: 60 }),
      KvBucketDiffersError,
      { reason: "bucket_differs", bucket: name },
    );
    expect(error.differences).toEqual([
      { setting: "history", expected: 1, actual: 3 },
      { setting: "ttlSeconds", expected: 60, actual: 0 },
    ]);
    expect(error.message).toContain("history is 3 instead of 1, ttlSeconds is 0 instead of 60");
    expect(await kv.getBucketInfo(name)).toMatchObject({ history: 3, ttlSeconds: 0 });
  });
});

/** The SDK's everyday calls, on a real service. */
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect } from "vitest";
import {
  type Bucket,
  createClient,
  type KeyValue,
  KvBucketExistsError,
  KvConflictError,
  KvInvalidArgumentError,
  KvKeyExistsError,
  KvNotFoundError,
  type Scan,
  type ScanOptions,
  type Storable,
} from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { refusal } from "./support.js";

const it = serviceTest({ "keys-page-max": "7", "buckets-page-max": "2" })
  .extend("kv", { scope: "file" }, ({ service }): KeyValue => createClient({ serverUrl: service.url }).kv())
  .extend("bucket", { scope: "file" }, async ({ kv }): Promise<Bucket> => {
    const { name } = await kv.createBucket({ name: freshName(), history: 5 });
    return kv.bucket(name);
  });

describe("values", () => {
  const bytes = Uint8Array.of(0, 255, 128, 10);
  const view = new Uint8Array(Uint8Array.of(9, 1, 2, 3, 9).buffer, 1, 3);
  const json = "application/json";
  it.for<[string, Storable, string | Uint8Array, string]>([
    ["a string", "Grüße 👋", "Grüße 👋", "text/plain; charset=utf-8"],
    ["an empty string", "", "", "text/plain; charset=utf-8"],
    ["a string that begins with a byte order mark", "\ufeffx", "\ufeffx", "text/plain; charset=utf-8"],
    ["bytes", bytes, bytes, ""],
    ["a view of a part of a buffer", view, Uint8Array.of(1, 2, 3), ""],
    ["a view of wider numbers", Uint16Array.of(258), Uint8Array.of(2, 1), ""],
    ["an ArrayBuffer", bytes.buffer, bytes, ""],
    ["a Buffer", Buffer.from("abc"), "abc", ""],
    ["an object", { name: "Alice", tags: [1, null] }, '{"name":"Alice","tags":[1,null]}', json],
    ["an array", [1, 2], "[1,2]", json],
    ["a number", 4.5, "4.5", json],
    ["false", false, "false", json],
    ["null", null, "null", json],
    ["a Date", new Date(0), '"1970-01-01T00:00:00.000Z"', json],
  ])("stores %s", async ([name, value, stored, contentType], { bucket }) => {
    await bucket.put(name, value);
    const entry = await bucket.get(name);
    const expected = typeof stored === "string" ? new TextEncoder().encode(stored) : stored;
    expect([...entry.value]).toEqual([...expected]);
    expect(entry.contentType).toBe(contentType);
    if (typeof stored === "string") expect(entry.text()).toBe(stored);
    if (contentType === json) expect(entry.json()).toEqual(JSON.parse(stored as string));
  });

  it.for<[string, unknown]>([
    ["undefined", undefined],
    ["a function", () => 1],
    ["a symbol", Symbol("x")],
    ["a bigint", 1n],
    ["a Map, whose JSON would be empty", new Map([[1, 2]])],
    ["a Set", new Set([1])],
    ["a promise that someone forgot to await", Promise.resolve(1)],
    ["a Blob", new Blob(["x"])],
  ])("refuses %s with a TypeError, and sends nothing", async ([, value], { bucket }) => {
    await expect(bucket.put("refused", value as Storable)).rejects.toThrow(TypeError);
    expect(await bucket.tryGet("refused")).toBeUndefined();
  });

  it("reads many at one revision, with as many calls as their sizes require", async ({ bucket }) => {
    const keys = Array.from({ length: 8 }, (_, index) => `many-${index}`);
    for (const key of keys) await bucket.put(key, new Uint8Array(900_000).fill(key.charCodeAt(5)));
    const { revision } = await bucket.put("many-0", "changed");
    const { entries, revision: read } = await bucket.getMany(["absent", ...keys, "many-0"]);
    expect(read).toBe(revision);
    expect(entries.map((entry) => entry?.key)).toEqual([undefined, ...keys, "many-0"]);
    expect(entries.at(-1)?.text()).toBe("changed");
    expect(entries[8]?.value[0]).toBe("7".charCodeAt(0));
    await bucket.put("many-1", "later");
    const before = await bucket.getMany(["many-1"], { revision });
    expect(before.entries[0]?.value).toHaveLength(900_000);
    expect(await bucket.getMany([])).toEqual({ entries: [], revision: 0n });
  });

  it("scans entries in the order of keys, and says at which revision", async ({ kv }) => {
    const { name } = await kv.createBucket({ name: freshName() });
    const scanned = kv.bucket(name);
    for (const key of ["a.1", "a.2", "b"]) await scanned.put(key, `of ${key}`);
    const read = async (options: ScanOptions = {}): Promise<[string[], Scan]> => {
      const scan = scanned.scan(options);
      const texts: string[] = [];
      for await (const entry of scan) texts.push(entry.text());
      return [texts, scan];
    };
    const [all, { revision, isComplete }] = await read();
    expect([all, revision, isComplete]).toEqual([["of a.1", "of a.2", "of b"], 3n, true]);
    const [some, limited] = await read({ prefix: "a.", reverse: true, limit: 1 });
    expect([some, limited.isComplete]).toEqual([["of a.2"], false]);
    for await (const entry of scanned.scan()) {
      expect(entry.key).toBe("a.1");
      break;
    }
    await expect(read({ startKey: "b", endKey: "a" })).rejects.toThrow(KvInvalidArgumentError);
    const controller = new AbortController();
    controller.abort(new Error("enough"));
    await expect(read({ signal: controller.signal })).rejects.toThrow("enough");
  });

  it("describes a bucket without counting its keys", async ({ kv }) => {
    const { name } = await kv.createBucket({ name: freshName(), description: "counted" });
    await kv.bucket(name).put("k", "v");
    expect(await kv.getBucketInfo(name)).toMatchObject({ values: 1, revision: 1n });
    const info = await kv.getBucketInfo(name, { withoutValues: true });
    expect(info).toMatchObject({ name, description: "counted", values: 0, revision: 1n });
    const listed = (await kv.listBuckets({ withoutValues: true })).find((bucket) => bucket.name === name);
    expect(listed).toEqual(info);
  });

  it("keeps the content type that was asked for", async ({ bucket }) => {
    await bucket.put("picture", bytes, { contentType: "image/png" });
    expect((await bucket.get("picture")).contentType).toBe("image/png");
    await bucket.put("picture", "x", { contentType: "" });
    expect((await bucket.get("picture")).contentType).toBe("");
  });

  it("says which value is not JSON", async ({ bucket }) => {
    await bucket.put("broken", "{");
    const entry = await bucket.get("broken");
    expect(() => entry.json()).toThrow(/"broken" is not JSON/);
  });
});

describe("keys", () => {
  it("writes conditionally: create, then update by revision", async ({ bucket }) => {
    const { revision } = await bucket.create("k", "v");
    const second = await bucket.update("k", "v2", revision);
    expect(second.revision).toBeGreaterThan(revision);
    const third = await bucket.update("k", "v3", Number(second.revision));
    const exists = await refusal(bucket.create("k", "x"), KvKeyExistsError, {
      reason: "key_exists",
      key: "k",
    });
    expect(exists).toBeInstanceOf(KvConflictError);
    expect(exists.currentRevision).toBe(third.revision);
    const conflict = await refusal(bucket.update("k", "x", revision), KvConflictError, {
      reason: "revision_mismatch",
      retryable: false,
      bucket: bucket.name,
    });
    expect(conflict.currentRevision).toBe(third.revision);
    expect((await bucket.get("k")).text()).toBe("v3");
  });

  it("deletes conditionally, and says what it did", async ({ bucket }) => {
    const { revision } = await bucket.put("doomed", 1);
    await refusal(bucket.delete("doomed", { ifRevision: revision + 1n }), KvConflictError);
    const deleted = await bucket.delete("doomed", { ifRevision: revision });
    expect(deleted.revision).toBeGreaterThan(revision);
    expect(await bucket.delete("doomed")).toEqual({ revision: 0n });
    await refusal(bucket.get("doomed"), KvNotFoundError, { reason: "key_not_found", code: "not_found" });
  });

  it("gives the history oldest first, and none of it after a purge", async ({ bucket }) => {
    const first = await bucket.put("h", "1");
    await bucket.put("h", "2");
    await bucket.delete("h");
    const history = await bucket.history("h");
    expect(history.map((entry) => [entry.operation, entry.text()])).toEqual([
      ["put", "1"],
      ["put", "2"],
      ["delete", ""],
    ]);
    expect((await bucket.get("h", { revision: first.revision })).text()).toBe("1");
    await bucket.put("h", "3");
    await bucket.purge("h");
    expect((await bucket.history("h")).map((entry) => entry.operation)).toEqual(["purge"]);
  });

  it("tells a key without a value from a bucket that does not exist", async ({ bucket, kv }) => {
    expect(await bucket.tryGet("never")).toBeUndefined();
    await refusal(kv.bucket("nowhere").tryGet("never"), KvNotFoundError, { reason: "bucket_not_found" });
  });

  it("gives an entry its revision, time and operation", async ({ bucket }) => {
    const { revision } = await bucket.put("fresh", "x");
    const entry = await bucket.get("fresh");
    expect(entry).toMatchObject({ key: "fresh", revision, operation: "put" });
    expect(Math.abs(entry.createdAt.getTime() - Date.now())).toBeLessThan(60_000);
  });

  it("lists keys by one filter, by several, and page after page", async ({ kv }) => {
    const listed = kv.bucket((await kv.createBucket({ name: freshName() })).name);
    const keys = Array.from({ length: 20 }, (_, index) => `user.${String(index).padStart(3, "0")}`);
    await Promise.all([...keys, "other", "user.1.x"].map((key) => listed.put(key, "")));
    expect(await listed.listKeys("user.*")).toEqual(keys);
    expect(await listed.listKeys(["other", "user.*.x"])).toEqual(["other", "user.1.x"]);
    expect(await listed.listKeys()).toHaveLength(22);
    const first: string[] = [];
    for await (const key of listed.keys("user.>")) if (first.push(key) === 3) break;
    expect(first).toEqual(keys.slice(0, 3));
  });

  it.for<[string, (on: { kv: KeyValue; bucket: Bucket }) => Promise<unknown>]>([
    ["an empty key", ({ bucket }) => bucket.get("")],
    ["half of a surrogate pair", ({ bucket }) => bucket.get("\ud800")],
    ["a key with a control character", ({ bucket }) => bucket.put("a\nb", 1)],
    ["a revision of 0 for get", ({ bucket }) => bucket.get("k", { revision: 0 })],
    ["a revision of 0 for update", ({ bucket }) => bucket.update("k", 1, 0n)],
    [
      "a revision of 0 for delete, which would be no condition",
      ({ bucket }) => bucket.delete("k", { ifRevision: 0n }),
    ],
    ["a negative revision", ({ bucket }) => bucket.update("k", 1, -1)],
    ["a revision that is not whole", ({ bucket }) => bucket.update("k", 1, 1.5)],
    ["a revision over 64 bits", ({ bucket }) => bucket.update("k", 1, 2n ** 64n)],
    ["a malformed filter", ({ bucket }) => bucket.listKeys("a.>.b")],
    ["a negative size", ({ kv }) => kv.createBucket({ name: "x", maxBytes: -1 })],
    ["a size that is not a number", ({ kv }) => kv.createBucket({ name: "x", maxValueSize: NaN })],
    ["a negative ttl", ({ kv }) => kv.createBucket({ name: "x", ttlSeconds: -1 })],
    ["a history of 65", ({ kv }) => kv.createBucket({ name: "x", history: 65 })],
    ["a malformed bucket name", ({ kv }) => kv.createBucket({ name: "a.b" })],
  ])("refuses %s", async ([, call], { kv, bucket }) => {
    await refusal(call({ kv, bucket }), KvInvalidArgumentError, {
      code: "invalid_argument",
      retryable: false,
    });
  });
});

describe("buckets", () => {
  it("makes, describes, changes, lists and deletes one", async ({ kv }) => {
    const name = freshName();
    const made = await kv.createBucket({
      name,
      description: "for a test",
      ttlSeconds: 3600,
      maxValueSize: 1000,
      maxBytes: 1_000_000,
      history: 3,
    });
    expect(made).toMatchObject({
      name,
      description: "for a test",
      ttlSeconds: 3600,
      maxValueSize: 1000,
      maxBytes: 1_000_000,
      history: 3,
      values: 0,
      revision: 0n,
      replicas: 1,
    });
    await kv.bucket(name).put("a", "1");
    const info = await kv.getBucketInfo(name);
    expect(info).toMatchObject({ values: 1, revision: 1n, createdAt: made.createdAt });
    expect(info.bytes).toBeGreaterThan(0);
    const changed = await kv.updateBucket(name, { ttlSeconds: 0, description: "" });
    expect(changed).toMatchObject({
      ttlSeconds: 0,
      description: "",
      history: 3,
      maxBytes: 1_000_000,
      values: 1,
    });
    const others = [
      await kv.createBucket({ name: freshName() }),
      await kv.createBucket({ name: freshName() }),
    ];
    const listed = (await kv.listBuckets()).map((one) => one.name);
    expect(listed).toEqual(expect.arrayContaining([name, ...others.map((one) => one.name)]));
    expect(new Set(listed).size).toBe(listed.length);
    await refusal(kv.createBucket({ name }), KvBucketExistsError, { reason: "bucket_exists", bucket: name });
    await kv.deleteBucket(name);
    await refusal(kv.getBucketInfo(name), KvNotFoundError, { reason: "bucket_not_found", bucket: name });
    await refusal(kv.deleteBucket(name), KvNotFoundError);
  });
});

describe("another transport", () => {
  it("speaks gRPC where it is given that, with the same errors", async ({ service, bucket }) => {
    const transport = createGrpcTransport({ baseUrl: service.url });
    const grpc = createClient({ transport }).kv().bucket(bucket.name);
    await grpc.put("by.grpc", { a: 1 });
    expect((await bucket.get("by.grpc")).json()).toEqual({ a: 1 });
    const { revision } = await grpc.put("by.grpc", 2);
    const conflict = await refusal(grpc.update("by.grpc", 3, 1), KvConflictError);
    expect(conflict.currentRevision).toBe(revision);
    for await (const event of grpc.watch("by.grpc")) {
      expect(event.json()).toBe(2);
      break;
    }
  });
});

describe("deleteKeys", () => {
  it("deletes what matches in several calls, and keeps what is written meanwhile", async ({ kv }) => {
    const own = kv.bucket((await kv.createBucket({ name: freshName() })).name);
    for (let n = 0; n < 10; n++) await own.put(`k.${n}`, "old");
    await own.put("other", "old");
    const seen: number[] = [];
    let written: Promise<unknown> | undefined;
    const result = await own.deleteKeys("k.*", {
      pageLimit: 3,
      onProgress({ deleted, remainingMax }) {
        seen.push(deleted + remainingMax);
        written ??= own.put("k.new", "new");
      },
    });
    await written;
    expect(result.deleted).toBe(10);
    expect(seen.at(-1)).toBe(10);
    expect(seen.length).toBeGreaterThanOrEqual(4);
    expect(await own.listKeys()).toEqual(["k.new", "other"]);
    await expect(own.deleteKeys([])).rejects.toThrow(KvInvalidArgumentError);
  });
});

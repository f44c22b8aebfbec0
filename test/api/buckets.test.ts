/** Making, describing, changing and removing buckets, through every door. */
import { Code } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { succeeds, until } from "../support/until.js";
import { CALL_DOORS } from "./doors.js";
import { bytes, clientsOf, refusal, text } from "./support.js";

const withService = serviceTest();

describe.each(CALL_DOORS)("buckets over $name", (door) => {
  const it = withService.extend(
    "open",
    ({ service }) =>
      () =>
        clientsOf(door, service.url),
  );

  it("creates a bucket with every setting and describes it the same", async ({ open }) => {
    const { buckets } = open();
    const name = freshName();
    const wanted = {
      name,
      description: "Log-ins",
      ttl: { seconds: 3_600n },
      maxValueSize: 1_000,
      maxBytes: 1_000_000n,
      history: 5,
    };
    const created = (await buckets.createBucket(wanted)).bucket;
    const described = (await buckets.getBucket({ bucket: name })).bucket;
    for (const bucket of [created, described]) {
      expect(bucket).toMatchObject({
        name,
        description: "Log-ins",
        maxValueSize: 1_000,
        maxBytes: 1_000_000n,
        history: 5,
        values: 0n,
      });
      expect(bucket?.ttl?.seconds).toBe(3_600n);
      expect(Math.abs(Number(bucket?.createdAt?.seconds) - Date.now() / 1_000)).toBeLessThan(60);
    }
  });

  it("creates a bucket with nothing but a name: no TTL, no limits, a history of 1", async ({ open }) => {
    const { buckets } = open();
    const name = freshName();
    await buckets.createBucket({ name });
    const { bucket } = await buckets.getBucket({ bucket: name });
    expect(bucket).toMatchObject({
      name,
      description: "",
      maxValueSize: 0,
      maxBytes: 0n,
      history: 1,
      values: 0n,
      bytes: 0n,
    });
    expect(bucket?.ttl).toBeUndefined();
  });

  it("returns only the fields of a read mask, and counts no keys without `values`", async ({ open }) => {
    const { buckets, kv } = open();
    const name = freshName();
    await buckets.createBucket({ name, description: "masked", ttl: { seconds: 60n } });
    await kv.put({ bucket: name, key: "k", value: bytes("v") });
    const readMask = { paths: ["name", "bytes", "ttl"] };
    const { bucket } = await buckets.getBucket({ bucket: name, readMask });
    expect(bucket).toMatchObject({ name, description: "", history: 0, values: 0n, ttl: { seconds: 60n } });
    expect(bucket?.bytes).toBeGreaterThan(0n);
    const listed = (await buckets.listBuckets({ readMask })).buckets;
    expect(listed.find((one) => one.name === name)).toEqual(bucket);
    const whole = await buckets.getBucket({ bucket: name, readMask: { paths: ["*"] } });
    expect(whole.bucket).toMatchObject({ description: "masked", values: 1n });
    await refusal(
      buckets.getBucket({ bucket: name, readMask: { paths: ["nothing"] } }),
      Code.InvalidArgument,
      "invalid_argument",
    );
  });

  it("counts live keys exactly, and the bytes", async ({ open }) => {
    const { buckets, kv } = open();
    const name = freshName();
    await buckets.createBucket({ name, history: 3 });
    for (const key of ["a", "b", "c", "d"]) {
      await kv.put({ bucket: name, key, value: bytes("1") });
      await kv.put({ bucket: name, key, value: bytes("2") });
    }
    await kv.delete({ bucket: name, key: "a" });
    await kv.delete({ bucket: name, key: "b", purge: true });
    const { bucket } = await buckets.getBucket({ bucket: name });
    expect(bucket?.values).toBe(2n);
    expect(bucket?.bytes).toBeGreaterThan(0n);
    await kv.put({ bucket: name, key: "a", value: bytes("3") });
    expect((await buckets.getBucket({ bucket: name })).bucket?.values).toBe(3n);
  });

  it("refuses to create a bucket that exists, and leaves it as it is", async ({ open }) => {
    const { buckets } = open();
    const name = freshName();
    await buckets.createBucket({ name, history: 2 });
    await refusal(buckets.createBucket({ name, history: 2 }), Code.AlreadyExists, "bucket_exists");
    await refusal(buckets.createBucket({ name, history: 9 }), Code.AlreadyExists, "bucket_exists");
    expect((await buckets.getBucket({ bucket: name })).bucket?.history).toBe(2);
  });

  it("lets one of many creators win", async ({ open }) => {
    const { buckets } = open();
    const name = freshName();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => buckets.createBucket({ name })),
    );
    expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
  });

  it("lists buckets in the order of their names, page by page", async ({ open }) => {
    const { buckets } = open();
    const prefix = freshName("list");
    const names = ["a", "b", "c"].map((end) => `${prefix}-${end}`);
    for (const name of [...names].reverse()) await buckets.createBucket({ name });
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await buckets.listBuckets({ limit: 2, pageToken });
      expect(page.buckets.length).toBeLessThanOrEqual(2);
      found.push(...page.buckets.map((bucket) => bucket.name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(found.filter((name) => name.startsWith(prefix))).toEqual(names);
    expect(found).toEqual([...found].sort());
  });

  it("changes what is asked for and keeps the rest", async ({ open }) => {
    const { buckets, kv } = open();
    const name = freshName();
    await buckets.createBucket({ name, description: "old", history: 2, maxValueSize: 100 });
    await kv.put({ bucket: name, key: "k", value: bytes("v") });
    const { bucket } = await buckets.updateBucket({ bucket: name, description: "new", history: 4 });
    expect(bucket).toMatchObject({ description: "new", history: 4, maxValueSize: 100, values: 1n });
    expect(text((await kv.get({ bucket: name, key: "k" })).entry?.value)).toBe("v");
  });

  it("deletes a bucket with all it holds; after it is recreated, it is empty", async ({ open }) => {
    const { buckets, kv } = open();
    const name = freshName();
    await buckets.createBucket({ name });
    await kv.put({ bucket: name, key: "k", value: bytes("v") });
    await buckets.deleteBucket({ bucket: name });
    await refusal(buckets.getBucket({ bucket: name }), Code.NotFound, "bucket_not_found");
    await refusal(buckets.deleteBucket({ bucket: name }), Code.NotFound, "bucket_not_found");
    await buckets.createBucket({ name });
    await refusal(kv.get({ bucket: name, key: "k" }), Code.NotFound, "key_not_found");
  });

  it.for(["APP_x", "SYS_keys"])("refuses the reserved name %s", async (name, { open }) => {
    await refusal(open().buckets.createBucket({ name }), Code.InvalidArgument, "reserved_name");
  });

  it.for<[string, object]>([
    ["an empty name", { name: "" }],
    ["a name with a slash", { name: "a/b" }],
    ["a name with a wildcard", { name: "a>" }],
    ["a name of 65 characters", { name: "b".repeat(65) }],
    ["a history of 65", { history: 65 }],
    ["a description of 1,025 bytes", { description: "d".repeat(1_025) }],
    ["a max_bytes of 1", { maxBytes: 1n }],
  ])("refuses %s", async ([, bad], { open }) => {
    const { buckets } = open();
    const name = freshName();
    await refusal(buckets.createBucket({ name, ...bad }), Code.InvalidArgument, "invalid_argument");
    await refusal(buckets.getBucket({ bucket: name }), Code.NotFound, "bucket_not_found");
  });

  it("compacts tombstones, and leaves live keys and their history", async ({ open }) => {
    const { buckets, kv } = open();
    const bucket = freshName();
    await buckets.createBucket({ name: bucket, history: 3 });
    for (const key of ["gone", "purged", "back", "live"]) await kv.put({ bucket, key, value: bytes("1") });
    await kv.delete({ bucket, key: "gone" });
    await kv.delete({ bucket, key: "purged", purge: true });
    await kv.delete({ bucket, key: "back" });
    await kv.put({ bucket, key: "back", value: bytes("2") });
    expect((await buckets.compactBucket({ bucket })).removed).toBe(2n);
    expect((await buckets.compactBucket({ bucket })).removed).toBe(0n);
    expect((await kv.listKeys({ bucket })).keys).toEqual(["back", "live"]);
    expect((await kv.getHistory({ bucket, key: "back" })).entries).toHaveLength(3);
    await refusal(kv.getHistory({ bucket, key: "gone" }), Code.NotFound, "key_not_found");
  });

  it("refuses to compact a bucket that does not exist", async ({ open }) => {
    await refusal(open().buckets.compactBucket({ bucket: freshName() }), Code.NotFound, "bucket_not_found");
  });
});

// At the same time, as each of them waits for a second.
withService.concurrent.for(CALL_DOORS)(
  "over $name, a bucket expires entries at the end of their life",
  async (door, { service }) => {
    const { buckets, kv } = clientsOf(door, service.url);
    const name = freshName();
    await buckets.createBucket({ name, ttl: { seconds: 1n } });
    await kv.put({ bucket: name, key: "k", value: bytes("v") });
    await until("the entry is gone", async () => !(await succeeds(kv.get({ bucket: name, key: "k" }))));
    expect((await buckets.getBucket({ bucket: name })).bucket?.values).toBe(0n);
    expect((await kv.listKeys({ bucket: name })).keys).toEqual([]);
  },
);

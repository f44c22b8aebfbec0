/** Reading, writing and listing keys, through every door. */
import { Code } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import type { ScanRequest } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { type Entry, Operation } from "../../gen/ironflow/kv/v1/types_pb.js";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { CALL_DOORS } from "./doors.js";
import { bytes, clientsOf, refusal, take, text } from "./support.js";

const withService = serviceTest();

/** In the order of their bytes. */
const ODD_KEYS = [
  // A byte order mark is a character of a key like any other.
  "\ufeffmarked",
  "marked",
  "a/b",
  "a b",
  "a.b.c",
  "é",
  "日本",
  "a%2Fb",
  "a..b",
  ".",
  "..",
  ".a.",
  "*",
  ">",
  "a.*",
  "a?b#c",
  "a+b",
  "a=b",
  "=3A",
  "\\",
  '"',
  "😀",
].sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));

describe.each(CALL_DOORS)("keys over $name", (door) => {
  const it = withService.extend("setUp", ({ service }) => async (history = 5) => {
    const clients = clientsOf(door, service.url);
    const bucket = freshName();
    await clients.buckets.createBucket({ name: bucket, history });
    return { ...clients, bucket };
  });

  it("returns what was put, with its revision and time", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const put = await kv.put({ bucket, key: "user:123", value: bytes("Alice") });
    const { entry } = await kv.get({ bucket, key: "user:123" });
    expect(put.revision).toBe(1n);
    expect(entry).toMatchObject({ key: "user:123", revision: 1n, operation: Operation.PUT });
    expect(text(entry?.value)).toBe("Alice");
    expect(Math.abs(Number(entry?.createdAt?.seconds) - Date.now() / 1_000)).toBeLessThan(60);
  });

  it.for<[string, Uint8Array]>([
    ["no bytes", new Uint8Array(0)],
    ["every byte", Uint8Array.from({ length: 256 }, (_, index) => index)],
    ["100 KB", new Uint8Array(100_000).fill(7)],
    ["the largest value", new Uint8Array(1_048_576).fill(9)],
  ])("keeps %s unchanged", async ([, value], { setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value });
    const { entry } = await kv.get({ bucket, key: "k" });
    expect(Buffer.from(entry?.value ?? []).equals(Buffer.from(value))).toBe(true);
  });

  it("keeps odd keys apart from each other", async ({ setUp }) => {
    // RFC 3986 section 5.2.4: URL parsers take "." and ".." out of a path, so REST clients can't name these keys.
    const keys = ODD_KEYS.filter((key) => door.isWholeContract || !/^\.+$/.test(key));
    const { kv, bucket } = await setUp();
    for (const key of keys) await kv.put({ bucket, key, value: bytes(`of ${key}`) });
    expect((await kv.listKeys({ bucket })).keys).toEqual(keys);
    for (const [index, key] of keys.entries()) {
      expect(text((await kv.get({ bucket, key })).entry?.value)).toBe(`of ${key}`);
      await kv.delete({ bucket, key });
      if (index % 5 === 4) expect((await kv.listKeys({ bucket })).keys).toEqual(keys.slice(index + 1));
    }
    expect((await kv.listKeys({ bucket })).keys).toEqual([]);
  });

  it("reads many keys at one revision, in the order of the request", async ({ setUp }) => {
    const { kv, bucket } = await setUp(1);
    for (const key of ODD_KEYS.filter((key) => door.isWholeContract || !/^\.+$/.test(key)))
      await kv.put({ bucket, key, value: bytes(`of ${key}`), contentType: "text/plain" });
    const { revision } = await kv.put({ bucket, key: "large", value: new Uint8Array(100_000).fill(7) });
    const keys = ["é", "absent", "large", "a/b", "é"];
    const batch = await kv.batchGet({ bucket, keys });
    expect(batch).toMatchObject({ revision, unreadKeys: [] });
    expect(batch.results.map(({ key }) => key)).toEqual(keys);
    const [odd, absent, large, slash, again] = batch.results.map(({ entry }) => entry);
    expect(odd).toMatchObject({ key: "é", operation: Operation.PUT, contentType: "text/plain" });
    expect([odd, slash, again].map((entry) => text(entry?.value))).toEqual(["of é", "of a/b", "of é"]);
    expect(absent).toBeUndefined();
    expect(large?.value).toHaveLength(100_000);
    await kv.put({ bucket, key: "absent", value: bytes("now") });
    const before = await kv.batchGet({ bucket, keys: ["é", "large"], revision });
    expect(before.results.map(({ entry }) => entry?.revision)).toEqual([odd?.revision, large?.revision]);
    await refusal(
      kv.batchGet({ bucket, keys: ["é", "absent"], revision }),
      Code.OutOfRange,
      "revision_compacted",
    );
    await refusal(kv.batchGet({ bucket, keys, revision: 1_000n }), Code.OutOfRange, "revision_in_future");
    await refusal(kv.batchGet({ bucket, keys: [] }), Code.InvalidArgument, "invalid_argument");
    await refusal(kv.batchGet({ bucket: "none", keys }), Code.NotFound, "bucket_not_found");
  });

  it("deletes keys by filter, page by page, but no entry that is written meanwhile", async ({ setUp }) => {
    const { kv, bucket } = await setUp(5);
    for (const key of ["a.1", "a.2", "a.3", "b", "é"]) await kv.put({ bucket, key, value: bytes("old") });
    const filters = ["a.*", "é"];
    const first = await kv.deleteKeys({ bucket, filters, limit: 1 });
    expect(first).toMatchObject({ deleted: 1, skipped: 0, revision: 5n });
    expect(first.remainingMax).toBeGreaterThanOrEqual(3n);
    await kv.put({ bucket, key: "a.2", value: bytes("new") });
    await kv.put({ bucket, key: "a.4", value: bytes("new") });
    const rest = await kv.deleteKeys({ bucket, filters, pageToken: first.nextPageToken });
    expect(rest).toMatchObject({ deleted: 2, skipped: 2, nextPageToken: "", revision: 5n, remainingMax: 0n });
    expect((await kv.listKeys({ bucket })).keys).toEqual(["a.2", "a.4", "b"]);
    expect((await kv.getHistory({ bucket, key: "a.3" })).entries).toHaveLength(2);
    expect(await kv.deleteKeys({ bucket, filters: [">"], purge: true })).toMatchObject({ deleted: 3 });
    const history = await kv.getHistory({ bucket, key: "a.2" });
    expect(history.entries.map(({ operation }) => operation)).toEqual([Operation.PURGE]);
    for (const wrong of [
      { bucket, filters: [] },
      { bucket, filters: ["a.*", ""] },
      { bucket, filters: ["a.>.b"] },
      { bucket, filters, limit: 10_001 },
      { bucket, filters, pageToken: "nonsense" },
      { bucket, filters: ["b"], pageToken: first.nextPageToken },
      { bucket, filters, purge: true, pageToken: first.nextPageToken },
    ])
      await refusal(kv.deleteKeys(wrong), Code.InvalidArgument, "invalid_argument");
    await refusal(kv.deleteKeys({ bucket: "none", filters }), Code.NotFound, "bucket_not_found");
  });

  it("scans entries by filters, prefix and bounds, in both directions, and says where it ends", async ({
    setUp,
  }) => {
    const { kv, bucket } = await setUp(1);
    for (const key of ["a.1", "a.2", "b", "b.1", "é"])
      await kv.put({ bucket, key, value: bytes(`of ${key}`) });
    const { revision } = await kv.put({ bucket, key: "z", value: new Uint8Array(100_000).fill(7) });
    const scan = async (options: Partial<Omit<ScanRequest, "$typeName" | "$unknown">>) => {
      const entries: Entry[] = [];
      for await (const response of kv.scan({ ...options, bucket })) {
        entries.push(...response.entries);
        if (response.end !== undefined)
          return {
            entries,
            keys: entries.map(({ key }) => key),
            complete: response.end.complete,
            revision: response.revision,
          };
      }
      throw new Error("the scan has no end");
    };
    const all = await scan({});
    expect(all).toMatchObject({ keys: ["a.1", "a.2", "b", "b.1", "z", "é"], complete: true, revision });
    expect(text(all.entries[0]?.value)).toBe("of a.1");
    expect(all.entries[0]).toMatchObject({ revision: 1n, operation: Operation.PUT });
    expect(all.entries[4]?.value).toHaveLength(100_000);
    expect((await scan({ reverse: true, limit: 2 })).keys).toEqual(["é", "z"]);
    expect(await scan({ filters: ["*.*", "b"], limit: 3 })).toMatchObject({
      keys: ["a.1", "a.2", "b"],
      complete: false,
    });
    expect((await scan({ prefix: "b", startKey: "b\0" })).keys).toEqual(["b.1"]);
    expect((await scan({ startKey: "a.2", endKey: "z" })).keys).toEqual(["a.2", "b", "b.1"]);
    const keysOnly = await scan({ keysOnly: true });
    expect(keysOnly.keys).toEqual(all.keys);
    expect(keysOnly.entries.every(({ value }) => value.length === 0)).toBe(true);
    await refusal(scan({ startKey: "b", endKey: "a" }), Code.InvalidArgument, "invalid_argument");
    const none = async (): Promise<void> => {
      for await (const { end } of kv.scan({ bucket: "none" })) expect(end).toBeUndefined();
    };
    await refusal(none(), Code.NotFound, "bucket_not_found");
  });

  it("returns an older revision while it is kept", async ({ setUp }) => {
    const { kv, bucket } = await setUp(2);
    for (const value of ["1", "2", "3"]) await kv.put({ bucket, key: "k", value: bytes(value) });
    await kv.put({ bucket, key: "other", value: bytes("4") });
    expect(text((await kv.get({ bucket, key: "k", revision: 2n })).entry?.value)).toBe("2");
    const compacted = await refusal(
      kv.get({ bucket, key: "k", revision: 1n }),
      Code.OutOfRange,
      "revision_compacted",
    );
    if (door.hasDetails) expect(compacted).toMatchObject({ bucket, key: "k" });
    await refusal(kv.get({ bucket, key: "k", revision: 4n }), Code.NotFound, "key_not_found");
    const future = await refusal(
      kv.get({ bucket, key: "k", revision: 99n }),
      Code.OutOfRange,
      "revision_in_future",
    );
    if (door.hasDetails) expect(future?.revision).toBe(4n);
  });

  it("creates a key only where it has no value, also after a delete", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const precondition = { condition: { case: "ifAbsent", value: true } } as const;
    const first = await kv.put({ bucket, key: "k", value: bytes("1"), precondition });
    const detail = await refusal(
      kv.put({ bucket, key: "k", value: bytes("2"), precondition }),
      Code.AlreadyExists,
      "key_exists",
    );
    if (door.hasDetails) expect(detail).toMatchObject({ bucket, key: "k", revision: first.revision });
    await kv.delete({ bucket, key: "k" });
    await kv.put({ bucket, key: "k", value: bytes("3"), precondition });
    await kv.delete({ bucket, key: "k", purge: true });
    await kv.put({ bucket, key: "k", value: bytes("4"), precondition });
    expect(text((await kv.get({ bucket, key: "k" })).entry?.value)).toBe("4");
  });

  it("updates a key only at the revision asked for", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const at = (revision: bigint) => ({ condition: { case: "ifRevision", value: revision } }) as const;
    const first = await kv.put({ bucket, key: "k", value: bytes("1") });
    const second = await kv.put({ bucket, key: "k", value: bytes("2"), precondition: at(first.revision) });
    const stale = await refusal(
      kv.put({ bucket, key: "k", value: bytes("3"), precondition: at(first.revision) }),
      Code.Aborted,
      "revision_mismatch",
    );
    if (door.hasDetails) expect(stale?.revision).toBe(second.revision);
    await refusal(
      kv.put({ bucket, key: "absent", value: bytes("3"), precondition: at(1n) }),
      Code.Aborted,
      "revision_mismatch",
    );
    expect(text((await kv.get({ bucket, key: "k" })).entry?.value)).toBe("2");
  });

  it("lets one of many writers win at a revision", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const { revision } = await kv.put({ bucket, key: "k", value: bytes("0") });
    const precondition = { condition: { case: "ifRevision", value: revision } } as const;
    const writes = Array.from({ length: 20 }, (_, index) =>
      kv.put({ bucket, key: "k", value: bytes(String(index)), precondition }).then(
        () => "won",
        () => "lost",
      ),
    );
    expect((await Promise.all(writes)).filter((outcome) => outcome === "won")).toHaveLength(1);
  });

  it("deletes with a tombstone, twice without harm, and keeps the history", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value: bytes("1") });
    await kv.delete({ bucket, key: "k" });
    await kv.delete({ bucket, key: "k" });
    await kv.delete({ bucket, key: "never" });
    await refusal(kv.get({ bucket, key: "k" }), Code.NotFound, "key_not_found");
    const { entries } = await kv.getHistory({ bucket, key: "k" });
    expect(entries.map((entry) => [entry.operation, entry.revision])).toEqual([
      [Operation.PUT, 1n],
      [Operation.DELETE, 2n],
    ]);
  });

  it("deletes only at the revision asked for", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const first = await kv.put({ bucket, key: "k", value: bytes("1") });
    const second = await kv.put({ bucket, key: "k", value: bytes("2") });
    await refusal(
      kv.delete({ bucket, key: "k", ifRevision: first.revision }),
      Code.Aborted,
      "revision_mismatch",
    );
    await kv.delete({ bucket, key: "k", ifRevision: second.revision });
    await refusal(kv.get({ bucket, key: "k" }), Code.NotFound, "key_not_found");
    await refusal(kv.delete({ bucket, key: "absent", ifRevision: 1n }), Code.Aborted, "revision_mismatch");
  });

  it("writes only into the bucket that a write names", async ({ setUp }) => {
    const { buckets, kv, bucket } = await setUp();
    const createdAt = (await buckets.getBucket({ bucket })).bucket?.createdAt;
    if (createdAt === undefined) throw new Error("a bucket without created_at");
    const put = await kv.put({ bucket, key: "k", value: bytes("v") });
    const got = await kv.get({ bucket, key: "k", verifyBucket: true });
    const condition = { case: "ifRevision" as const, value: 1n };
    const earlier = { ...createdAt, seconds: createdAt.seconds - 1n };
    const write = (ifBucketCreatedAt: typeof createdAt) =>
      kv.put({ bucket, key: "k", value: bytes("w"), precondition: { condition, ifBucketCreatedAt } });
    for (const refused of [
      () => write(earlier),
      () => kv.delete({ bucket, key: "k", ifRevision: 1n, ifBucketCreatedAt: earlier }),
    ]) {
      const detail = await refusal(refused(), Code.Aborted, "revision_mismatch");
      if (door.hasDetails) expect(detail).toMatchObject({ revision: 1n, bucketCreatedAt: createdAt });
    }
    expect((await write(createdAt)).revision).toBe(2n);
    await kv.delete({ bucket, key: "k", ifRevision: 2n, ifBucketCreatedAt: createdAt });
    if (!door.isWholeContract) return;
    expect([put.bucketCreatedAt, got.bucketCreatedAt]).toEqual([createdAt, createdAt]);
  });

  it("purges a key with its history", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value: bytes("1") });
    await kv.put({ bucket, key: "k", value: bytes("2") });
    await kv.delete({ bucket, key: "k", purge: true });
    await refusal(kv.get({ bucket, key: "k" }), Code.NotFound, "key_not_found");
    const { entries } = await kv.getHistory({ bucket, key: "k" });
    expect(entries.map((entry) => entry.operation)).toEqual([Operation.PURGE]);
    await refusal(kv.get({ bucket, key: "k", revision: 1n }), Code.OutOfRange, "revision_compacted");
  });

  it("lists live keys by filters, in byte order, page by page", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    for (const key of ["user.2", "user.1", "user.1.name", "user-7", "Z", "gone", "é"])
      await kv.put({ bucket, key, value: bytes("v") });
    await kv.delete({ bucket, key: "gone" });
    const keys = async (...filters: string[]) => (await kv.listKeys({ bucket, filters })).keys;
    expect(await keys()).toEqual(["Z", "user-7", "user.1", "user.1.name", "user.2", "é"]);
    expect(await keys("user.*")).toEqual(["user.1", "user.2"]);
    expect(await keys("user.>")).toEqual(["user.1", "user.1.name", "user.2"]);
    expect(await keys("user-*")).toEqual(["user-7"]);
    expect(await keys("user.*", "*.1", "Z")).toEqual(["Z", "user.1", "user.2"]);
    expect(await keys("nothing.>")).toEqual([]);
    const paged: string[] = [];
    let pageToken = "";
    do {
      const page = await kv.listKeys({ bucket, limit: 4, pageToken });
      expect(page.keys.length).toBeLessThanOrEqual(4);
      paged.push(...page.keys);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(paged).toEqual(await keys());
  });

  it("returns the history of a key, oldest first, as deep as the bucket keeps it", async ({ setUp }) => {
    const { kv, bucket } = await setUp(3);
    for (const value of ["1", "2", "3", "4"]) await kv.put({ bucket, key: "k", value: bytes(value) });
    const { entries } = await kv.getHistory({ bucket, key: "k" });
    expect(entries.map((entry) => text(entry.value))).toEqual(["2", "3", "4"]);
    await refusal(kv.getHistory({ bucket, key: "absent" }), Code.NotFound, "key_not_found");
  });

  it("answers calls on a bucket that is not there with NOT_FOUND", async ({ setUp }) => {
    const { kv } = await setUp();
    const bucket = "not-there";
    await refusal(kv.get({ bucket, key: "k" }), Code.NotFound, "bucket_not_found");
    await refusal(kv.get({ bucket, key: "k", revision: 1n }), Code.NotFound, "bucket_not_found");
    await refusal(kv.put({ bucket, key: "k", value: bytes("1") }), Code.NotFound, "bucket_not_found");
    await refusal(kv.delete({ bucket, key: "k" }), Code.NotFound, "bucket_not_found");
    await refusal(kv.listKeys({ bucket }), Code.NotFound, "bucket_not_found");
    await refusal(kv.getHistory({ bucket, key: "k" }), Code.NotFound, "bucket_not_found");
  });

  it.for<[string, { bucket?: string; key?: string }]>([
    ["a key of 513 bytes", { key: "k".repeat(513) }],
    ["a key with a newline", { key: "a\nb" }],
    ["a key with a zero byte", { key: "a\0b" }],
    ["a bucket with a dot", { bucket: "a.b" }],
    ["a bucket with a wildcard", { bucket: "*" }],
    ["a bucket of 65 characters", { bucket: "b".repeat(65) }],
  ])("refuses %s", async ([, bad], { setUp }) => {
    const { kv, bucket } = await setUp();
    const place = { bucket, key: "k", ...bad };
    await refusal(kv.get(place), Code.InvalidArgument, "invalid_argument");
    await refusal(kv.put({ ...place, value: bytes("v") }), Code.InvalidArgument, "invalid_argument");
    await refusal(kv.delete(place), Code.InvalidArgument, "invalid_argument");
    expect((await kv.listKeys({ bucket })).keys).toEqual([]);
  });

  it("checks the arguments of a call before it looks for the bucket", async ({ setUp }) => {
    const { kv, buckets } = await setUp();
    const bucket = "not-there";
    const createdAt = (await buckets.createBucket({ name: freshName() })).bucket?.createdAt;
    const named = createdAt === undefined ? {} : { ifBucketCreatedAt: createdAt };
    const condition = { case: "ifRevision" as const, value: 1n };
    const invalid = [
      () => kv.get({ bucket, key: "a\nb" }),
      () => kv.get({ bucket, key: "a\nb", verifyBucket: true }),
      () => kv.put({ bucket, key: "a\nb", value: bytes("v") }),
      () => kv.put({ bucket, key: "a\nb", value: bytes("v"), precondition: { condition, ...named } }),
      () => kv.put({ bucket, key: "k", value: bytes("v"), idempotencyKey: "x".repeat(129) }),
      () => kv.delete({ bucket, key: "a\nb" }),
      () => kv.delete({ bucket, key: "a\nb", ifRevision: 1n, ...named }),
      () => kv.delete({ bucket, key: "k", idempotencyKey: "x".repeat(129) }),
      () => kv.getHistory({ bucket, key: "a\nb" }),
      () => kv.getHistory({ bucket, key: "k", pageToken: "not a token" }),
      () => kv.listKeys({ bucket, filters: ["a.>.b"] }),
      () => kv.listKeys({ bucket, pageToken: "not a token" }),
      () => take(kv.watch({ bucket, filters: ["a.>.b"] }), 1),
    ];
    for (const call of invalid) await refusal(call(), Code.InvalidArgument, "invalid_argument");
    const value = new Uint8Array(1_048_577);
    for (const precondition of [{}, { condition, ...named }])
      await refusal(
        kv.put({ bucket, key: "k", value, precondition }),
        Code.ResourceExhausted,
        "value_too_large",
      );
  });

  it.for(["a.>.b", "a\nb", "f".repeat(513)])("refuses the filter %j", async (filter, { setUp }) => {
    const { kv, bucket } = await setUp();
    await refusal(kv.listKeys({ bucket, filters: [filter] }), Code.InvalidArgument, "invalid_argument");
  });

  it("refuses a page token that is none, and a page of more than the most", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await refusal(
      kv.listKeys({ bucket, pageToken: "not a token" }),
      Code.InvalidArgument,
      "invalid_argument",
    );
    await refusal(kv.listKeys({ bucket, limit: 10_001 }), Code.InvalidArgument, "invalid_argument");
  });

  it("refuses a value over the service's limit and one over the bucket's, and keeps what was there", async ({
    setUp,
  }) => {
    const { kv, buckets } = await setUp();
    const bucket = freshName();
    await buckets.createBucket({ name: bucket, maxValueSize: 10 });
    await kv.put({ bucket, key: "k", value: bytes("0123456789") });
    await refusal(
      kv.put({ bucket, key: "k", value: bytes("0123456789a") }),
      Code.ResourceExhausted,
      "value_too_large",
    );
    await refusal(
      kv.put({ bucket, key: "k", value: new Uint8Array(1_048_577) }),
      Code.ResourceExhausted,
      "value_too_large",
    );
    expect(text((await kv.get({ bucket, key: "k" })).entry?.value)).toBe("0123456789");
  });

  it("refuses a write to a full bucket, and still reads and deletes nothing by itself", async ({ setUp }) => {
    const { kv, buckets } = await setUp();
    const bucket = freshName();
    await buckets.createBucket({ name: bucket, maxBytes: 4_096n });
    await kv.put({ bucket, key: "first", value: new Uint8Array(1_000) });
    const fill = async (): Promise<never> => {
      for (let index = 0; ; index++) await kv.put({ bucket, key: `k${index}`, value: new Uint8Array(1_000) });
    };
    await refusal(fill(), Code.ResourceExhausted, "bucket_full");
    expect((await kv.get({ bucket, key: "first" })).entry?.value).toHaveLength(1_000);
  });
});

/** TTLs of entries, Touch and metadata, through every door. */
import { Code } from "@connectrpc/connect";
import { type Duration, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { describe, expect } from "vitest";
import type { Entry } from "../../gen/ironflow/kv/v1/types_pb.js";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { CALL_DOORS } from "./doors.js";
import { bytes, clientsOf, line, refusal, take, text } from "./support.js";

const withService = serviceTest();
const METADATA = { author: "Ann", "content-hash": "a=b&c%20d", note: " grüße \r\n…\u00a0", empty: "" };

const seconds = (count: number): Pick<Duration, "$typeName" | "seconds" | "nanos"> => ({
  $typeName: "google.protobuf.Duration",
  seconds: BigInt(count),
  nanos: 0,
});
const timeOf = (time: Timestamp | undefined): number => (time === undefined ? 0 : timestampMs(time));
const lifeOf = (entry: Entry | undefined): number => timeOf(entry?.expiresAt) - timeOf(entry?.createdAt);

describe.each(CALL_DOORS)("TTLs and metadata over $name", (door) => {
  const it = withService.extend("setUp", ({ service }) => async (history = 1) => {
    const clients = clientsOf(door, service.url);
    const bucket = freshName();
    await clients.buckets.createBucket({ name: bucket, history });
    return { ...clients, bucket };
  });

  it("returns them in reads, histories and watches", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const watch = kv.watch({ bucket });
    await kv.put({ bucket, key: "k", value: bytes("1"), ttl: seconds(60), metadata: METADATA });
    const { entry } = await kv.get({ bucket, key: "k" });
    expect(lifeOf(entry)).toBe(60_000);
    expect(entry?.metadata).toEqual(METADATA);
    const { entries } = await kv.getHistory({ bucket, key: "k" });
    expect(entries[0]?.metadata).toEqual(METADATA);
    expect(timeOf(entries[0]?.expiresAt)).toBe(timeOf(entry?.expiresAt));
    for await (const { event } of watch) {
      if (event.case !== "change") continue;
      expect(event.value.entry?.metadata).toEqual(METADATA);
      expect(timeOf(event.value.entry?.expiresAt)).toBe(timeOf(entry?.expiresAt));
      break;
    }
  });

  it("ends the life of a key, and tells watches", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value: bytes("1"), ttl: seconds(1) });
    const events = (await take(kv.watch({ bucket }), 3)).map(line);
    expect(events.slice(0, 2)).toEqual(["put k=1 @1", "end @1"]);
    // Over WebSocket and SSE, an expiry is a delete.
    expect(events[2]).toMatch(/^(expire|delete) k @2$|^\? k @2$/);
    await refusal(kv.get({ bucket, key: "k" }), Code.NotFound, "key_not_found");
    expect((await kv.listKeys({ bucket })).keys).toEqual([]);
  });

  it("gives a key another TTL, and keeps value, type and metadata", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const value = bytes("v");
    await kv.put({
      bucket,
      key: "a/b c",
      value,
      contentType: "text/x",
      metadata: METADATA,
      ttl: seconds(60),
    });
    const touched = await kv.touch({ bucket, key: "a/b c", ttl: seconds(90), ifRevision: 1n });
    expect(touched.revision).toBe(2n);
    const { entry } = await kv.get({ bucket, key: "a/b c" });
    expect([lifeOf(entry), text(entry?.value)]).toEqual([90_000, "v"]);
    expect(entry?.metadata).toEqual(METADATA);
    if (door.isWholeContract) expect(entry?.contentType).toBe("text/x");
    await kv.touch({ bucket, key: "a/b c" });
    expect((await kv.get({ bucket, key: "a/b c" })).entry?.expiresAt).toBeUndefined();
  });

  it("refuses a touch without a value or on another revision, and a TTL out of range", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await refusal(kv.touch({ bucket, key: "k" }), Code.NotFound, "key_not_found");
    await kv.put({ bucket, key: "k", value: bytes("1") });
    const detail = await refusal(
      kv.touch({ bucket, key: "k", ifRevision: 9n }),
      Code.Aborted,
      "revision_mismatch",
    );
    if (door.hasDetails) expect(detail?.revision).toBe(1n);
    for (const ttl of [seconds(0), seconds(3_153_600_001)]) {
      await refusal(kv.touch({ bucket, key: "k", ttl }), Code.InvalidArgument, "invalid_argument");
      await refusal(
        kv.put({ bucket, key: "k", value: bytes("1"), ttl }),
        Code.InvalidArgument,
        "invalid_argument",
      );
    }
  });

  it("refuses a TTL in a deep history, and malformed metadata", async ({ setUp }) => {
    const { kv, bucket } = await setUp(2);
    const put = (request: object) => kv.put({ bucket, key: "k", value: bytes("1"), ...request });
    await refusal(put({ ttl: seconds(5) }), Code.FailedPrecondition, "ttl_not_supported");
    await put({});
    await refusal(
      kv.touch({ bucket, key: "k", ttl: seconds(5) }),
      Code.FailedPrecondition,
      "ttl_not_supported",
    );
    await refusal(put({ metadata: { "a!": "" } }), Code.InvalidArgument, "invalid_argument");
    await refusal(put({ metadata: { a: "x".repeat(2_048) } }), Code.InvalidArgument, "invalid_argument");
  });

  it("applies a touch with an idempotency key once", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value: bytes("1") });
    const touch = (ttl: number) => kv.touch({ bucket, key: "k", ttl: seconds(ttl), idempotencyKey: "i" });
    expect((await touch(60)).revision).toBe(2n);
    expect((await touch(60)).revision).toBe(2n);
    await refusal(touch(61), Code.FailedPrecondition, "idempotency_key_reused");
  });
});

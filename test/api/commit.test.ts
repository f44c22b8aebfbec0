/** Commits through every door. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { needsServer } from "../support/nats-program.js";
import { freshName } from "../support/service.js";
import { CALL_DOORS } from "./doors.js";
import { bytes, clientsOf, line, refusal, take, text } from "./support.js";

const withService = serviceTest();

const put = (key: string, value: string, condition?: { case: "ifAbsent"; value: true }) => ({
  operation: {
    case: "put" as const,
    value: { key, value: bytes(value), ...(condition === undefined ? {} : { precondition: { condition } }) },
  },
});
const remove = (key: string) => ({ operation: { case: "delete" as const, value: { key } } });
const check = (key: string, revision: bigint) => ({
  operation: {
    case: "check" as const,
    value: { key, condition: { case: "revision" as const, value: revision } },
  },
});
const checkAbsent = (key: string) => ({
  operation: { case: "check" as const, value: { key, condition: { case: "absent" as const, value: true } } },
});
const unchanged = (filter: string, since: bigint) => ({
  operation: {
    case: "check" as const,
    value: { filter, condition: { case: "unchangedSince" as const, value: since } },
  },
});

describe.each(CALL_DOORS)("over $name", needsServer("2.15.1"), (door) => {
  const it = withService.extend("setUp", ({ service }) => async () => {
    const clients = clientsOf(door, service.url);
    const bucket = freshName();
    await clients.buckets.createBucket({ name: bucket });
    return { ...clients, bucket };
  });

  it("a commit applies all of its operations", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "a", value: bytes("1") });
    const operations = [
      ...[check("a", 1n), checkAbsent("b"), unchanged("x.>", 1n)],
      ...[put("a", "2"), put("b", "2", { case: "ifAbsent", value: true }), remove("c")],
    ];
    const result = await kv.commit({ bucket, operations, idempotencyKey: "once" });
    expect([result.revision, ...result.revisions]).toEqual([4n, 0n, 0n, 0n, 2n, 3n, 4n]);
    const again = await kv.commit({ bucket, operations, idempotencyKey: "once" });
    expect(again.revisions).toEqual(result.revisions);
    expect(text((await kv.get({ bucket, key: "a" })).entry?.value)).toBe("2");
    const other = kv.commit({ bucket, operations: operations.slice(1), idempotencyKey: "once" });
    await refusal(other, Code.FailedPrecondition, "idempotency_key_reused");
  });

  it("a commit applies nothing where an operation conflicts, and says which", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "a", value: bytes("1") });
    const mismatch = await refusal(
      kv.commit({ bucket, operations: [put("b", "1"), check("a", 7n)] }),
      Code.Aborted,
      "revision_mismatch",
    );
    expect(mismatch).toMatchObject({ operationIndex: 1, key: "a", revision: 1n });
    const exists = await refusal(
      kv.commit({ bucket, operations: [put("a", "2", { case: "ifAbsent", value: true }), put("b", "1")] }),
      Code.AlreadyExists,
      "key_exists",
    );
    expect(exists).toMatchObject({ operationIndex: 0, key: "a", revision: 1n });
    const malformed = [
      [],
      [put("b", "1"), put("b", "2")],
      [check("b", 1n), checkAbsent("b")],
      [check("b", 0n)],
      [{ operation: { case: undefined } as const }],
      [unchanged("b*", 1n)],
    ];
    for (const operations of malformed)
      await refusal(kv.commit({ bucket, operations }), Code.InvalidArgument, "invalid_argument");
    expect((await kv.listKeys({ bucket })).keys).toEqual(["a"]);
  });

  it("a commit may be larger than other messages", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    // The client takes seconds to encode 8 MiB as JSON.
    const count = door.name.includes("proto") ? 8 : 2;
    const value = Buffer.alloc(1_000_000, "x").toString();
    const keys = Array.from({ length: count }, (_, n) => `k${n}`);
    const operations = keys.map((key) => put(key, value));
    await kv.commit({ bucket, operations });
    expect((await kv.listKeys({ bucket })).keys).toEqual(keys);
    if (count < 8) return;
    const tooLarge = [...operations, put("l", value)];
    const error = await kv.commit({ bucket, operations: tooLarge }).catch((thrown: unknown) => thrown);
    expect((error as ConnectError).code).toBe(Code.InvalidArgument);
  });

  it("a watch tells which changes belong to a commit", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "a", value: bytes("1") });
    await kv.commit({ bucket, operations: [put("b", "2"), remove("a"), put("c", "2")] });
    await kv.put({ bucket, key: "d", value: bytes("1") });
    const events = await take(kv.watch({ bucket, startRevision: 2n }), 5);
    const lines = events.map((event) => {
      const { value } = event.event;
      return `${line(event)} ${event.event.case === "change" && value !== undefined && "commitRevision" in value ? value.commitRevision : ""}`;
    });
    expect(lines.slice(0, 4)).toEqual([...["put b=2 @2 4", "delete a @3 4", "put c=2 @4 4", "put d=1 @5 0"]]);
  });
});

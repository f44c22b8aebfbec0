/** The small parts of the store that stand by themselves: error codes, times, header blocks, the order of keys. */
import * as fc from "fast-check";
import { headers as clientHeaders, MsgHdrsImpl } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { KvError, type KvErrorKind } from "../../src/kv/errors.js";
import { JetStreamError, toKvError } from "../../src/nats/client/errors.js";
import { HeaderBlock, RawHeaders } from "../../src/nats/client/messages.js";
import { entryOf, operationOf } from "../../src/nats/streams/records.js";
import { NoReplyError } from "../../src/nats/client/requests.js";
import { parseTimestamp } from "../../src/nats/client/timestamps.js";

describe("a failure of the storage", () => {
  it.each<[number, string, KvErrorKind]>([
    [10059, "stream not found", "bucket_not_found"],
    [10037, "no message found", "key_not_found"],
    [10058, "stream name already in use with a different configuration", "bucket_exists"],
    [10071, "wrong last sequence: 7", "revision_mismatch"],
    [10164, "wrong last sequence", "revision_mismatch"],
    [10077, "maximum bytes exceeded", "bucket_full"],
    [10077, "write /data/x: no space left on device", "storage_exhausted"],
    [10077, "insufficient resources", "storage_exhausted"],
    [10077, "something else", "internal"],
    [10054, "message size exceeds maximum allowed", "value_too_large"],
    [10097, "header size exceeds maximum allowed of 64k", "value_too_large"],
    [10002, "account resources exceeded", "storage_exhausted"],
    [10023, "insufficient resources", "storage_exhausted"],
    [10026, "maximum consumers limit reached", "storage_exhausted"],
    [10027, "maximum number of streams reached", "storage_exhausted"],
    [10028, "insufficient memory", "storage_exhausted"],
    [10047, "insufficient storage resources available", "storage_exhausted"],
    [10122, "stream max bytes exceeds account limit max stream bytes", "storage_exhausted"],
    [10167, "too many requests", "storage_exhausted"],
    [10008, "JetStream system temporarily unavailable", "unavailable"],
    [10009, "JetStream not in clustered mode", "unavailable"],
    [10118, "stream is offline", "unavailable"],
    [10119, "consumer is offline", "unavailable"],
    [10076, "JetStream not enabled", "internal"],
    [0, "", "internal"],
  ])("%i (%s) is %s, in words of the service's own", (code, description, kind) => {
    const cause = new JetStreamError(code, description);
    const error = toKvError(cause, { bucket: "b", key: "k" });
    expect(error).toMatchObject({ kind, bucket: "b", key: "k", cause });
    expect(error.message).toMatch(/^[A-Z].*\.$/);
    expect(error.message).not.toMatch(/nats|jetstream|stream|consumer|message|KV_|sequence/i);
    if (description !== "") expect(error.message).not.toContain(description);
  });

  it.each<[NoReplyError["reason"], KvErrorKind]>([
    ["deadline", "deadline_exceeded"],
    ["canceled", "canceled"],
    ["disconnected", "unavailable"],
    ["no_responders", "unavailable"],
  ])("that is no answer (%s) is %s for a read", (reason, kind) => {
    expect(toKvError(new NoReplyError(reason, true), {}).kind).toBe(kind);
  });

  it("of another kind is opaque, and keeps its cause", () => {
    const cause = new TypeError("secret");
    expect(toKvError(cause, {})).toMatchObject({ kind: "internal", cause });
    expect(toKvError(cause, {}).message).not.toContain("secret");
    const known = new KvError("key_exists", "x");
    expect(toKvError(known, {})).toBe(known);
  });
});

describe("times of the server", () => {
  it.each([
    ["2026-11-22T21:54:08.989208096Z", "2026-11-22T21:54:08.989Z", 208_096],
    ["2026-11-22T21:54:08.98920809Z", "2026-11-22T21:54:08.989Z", 208_090],
    ["2026-11-22T21:54:08.5Z", "2026-11-22T21:54:08.500Z", 0],
    ["2026-11-22T21:54:08Z", "2026-11-22T21:54:08.000Z", 0],
    ["2026-11-22T21:54:08.000000001+02:00", "2026-11-22T19:54:08.000Z", 1],
  ])("%s is %s and %i nanoseconds", (text, time, nanos) => {
    expect(parseTimestamp(text)).toEqual({ ms: Date.parse(time), nanos });
  });
});

describe("a header block", () => {
  it("is read as the client reads it", () => {
    const names = fc.constantFrom("KV-Operation", "Nats-Sequence", "Nats-Msg-Id", "X", "Content-Type");
    const value = fc.string({
      unit: fc.constantFrom("a", " ", ":", "-", "1", "Nats-Sequence: 9"),
      maxLength: 6,
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(names, value)), names, (lines, asked) => {
        const made = clientHeaders();
        for (const [name, text] of lines) made.append(name, text);
        if (!(made instanceof MsgHdrsImpl)) throw new Error("other headers");
        const block = new HeaderBlock(made.toString());
        expect(block.get(asked)).toBe(made.get(asked));
        expect(block.last(asked)).toBe(made.last(asked));
        expect(block.status).toBe(0);
      }),
    );
  });

  it("is written so that the client reads it", () => {
    const raw = new RawHeaders("Nats-Msg-Id: a1\r\nKV-Operation: DEL\r\n");
    const read = MsgHdrsImpl.decode(raw.encode());
    expect([...read].map(([name, values]) => [name, ...values])).toEqual([
      ["Nats-Msg-Id", "a1"],
      ["KV-Operation", "DEL"],
    ]);
  });

  it.each([
    ["NATS/1.0\r\n\r\n", 0],
    ["NATS/1.0 404 Message Not Found\r\n\r\n", 404],
    ["NATS/1.0 503\r\n\r\n", 503],
    ["NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 8\r\n\r\n", 100],
    ["", 0],
  ])("%j has the status %i", (text, status) => {
    expect(new HeaderBlock(text).status).toBe(status);
  });
});

describe("a stored message", () => {
  const block = (lines: string): HeaderBlock => new HeaderBlock(`NATS/1.0\r\n${lines}\r\n`);
  it.each([
    ["", "put"],
    ["KV-Operation: PUT\r\n", "put"],
    ["KV-Operation: DEL\r\n", "delete"],
    ["KV-Operation: PURGE\r\nNats-Rollup: sub\r\n", "purge"],
    ["Nats-Marker-Reason: MaxAge\r\nNats-TTL: 1s\r\n", "expire"],
    ["Nats-Marker-Reason: Purge\r\n", "purge"],
    ["Nats-Marker-Reason: Remove\r\n", "purge"],
    ["X-KV-Operation: DEL\r\n", "put"],
  ])("with the headers %j is a %s", (lines, operation) => {
    expect(operationOf(block(lines))).toBe(operation);
  });

  it("is an entry with a value only where it is a put, and none where no key is stored so", () => {
    const record = { data: Buffer.from("v"), revision: 3n, timeMs: 1, timeNanos: 2 };
    expect(entryOf({ ...record, storedKey: "a=3Ab", headers: undefined })).toMatchObject({
      key: "a:b",
      revision: 3n,
      operation: "put",
      contentType: "",
    });
    expect(
      entryOf({ ...record, storedKey: "a", headers: block("KV-Operation: DEL\r\n") })?.value,
    ).toHaveLength(0);
    expect(entryOf({ ...record, storedKey: "a=3a", headers: undefined })).toBeUndefined();
  });
});

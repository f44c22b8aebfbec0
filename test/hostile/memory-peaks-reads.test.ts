/** The peak of the resident memory while a client starts reads of much, and lets nothing be sent. */
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  BatchGetRequestSchema,
  ListKeysRequestSchema,
  ScanRequestSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { INITIAL_WINDOW_SIZE } from "../../packages/http2/test/frames.js";
import { END_HEADERS, END_STREAM, Frame, frame, setting } from "../../packages/http2/test/raw-session.js";
import { envelope } from "../../src/protocol/rpc/envelope.js";
import { isExtendedFor } from "../support/extended.js";
import {
  BUCKETS,
  describePeaks,
  KEY_VALUE_SERVICE,
  MEBIBYTE,
  OVERHEAD_BYTES,
  PEAK_TIMEOUT_MS,
  PeakMeter,
  requestHead,
  TOTAL_BYTES,
} from "./peaks.js";

const KEYS = 400;
const VALUE_BYTES = 250_000;
const LISTED_KEYS = 4_000;
const CALLS = 250;
/** Each is of one value. */
const GETS = 1_000;
/** More than a page of a batch has. */
const BATCH_KEYS = 12;
/** A page of a history has so many revisions of a key. */
const HISTORIES = 150;
const HISTORY_REVISIONS = 9;
/** SCAN_BYTES_MAX or TOTAL_PAGE_BYTES_MAX, and what NATS may send at once. */
const READ_BYTES = (64 + 28) * MEBIBYTE;
/** Texts of lists that V8 has not collected yet: 1,000 calls peak no higher than 250 do, by a few MiB. */
const LIST_TEXT_BYTES = 64 * MEBIBYTE;

interface Read {
  readonly name: string;
  readonly head: Buffer;
  readonly bodyOf: (index: number) => Uint8Array;
  /** How many at once. Default: CALLS. */
  readonly calls?: number;
  /** What the process may need beside the budgets. Default: nothing. */
  readonly garbageBytes?: number;
}

const keysOf = (index: number): string[] =>
  Array.from({ length: BATCH_KEYS }, (_, at) => `k${(index * 7 + at) % KEYS}`);

function grpc(method: string, messageOf: (index: number) => Uint8Array): Read {
  const fields = { "content-type": "application/grpc", te: "trailers" };
  return {
    name: `${method} over gRPC`,
    head: requestHead("POST", `${KEY_VALUE_SERVICE}/${method}`, fields),
    bodyOf: (index) => envelope(0, messageOf(index)),
  };
}

function connectJson(method: string, messageOf: (index: number) => unknown): Read {
  return {
    name: `${method} over Connect with JSON`,
    head: requestHead("POST", `${KEY_VALUE_SERVICE}/${method}`, { "content-type": "application/json" }),
    bodyOf: (index) => Buffer.from(JSON.stringify(messageOf(index))),
  };
}

function rest(name: string, path: string, messageOf?: (index: number) => unknown): Read {
  const method = messageOf === undefined ? "GET" : "POST";
  const fields: Readonly<Record<string, string>> =
    messageOf === undefined ? {} : { "content-type": "application/json" };
  return {
    name: `${name} over REST`,
    head: requestHead(method, `${BUCKETS}${path}`, fields),
    bodyOf: (index) => Buffer.from(messageOf === undefined ? "" : JSON.stringify(messageOf(index))),
  };
}

const LIST = create(ListKeysRequestSchema, { bucket: "keys", limit: 10_000 });
const READS: readonly Read[] = [
  grpc("BatchGet", (index) =>
    toBinary(BatchGetRequestSchema, create(BatchGetRequestSchema, { bucket: "b", keys: keysOf(index) })),
  ),
  connectJson("BatchGet", (index) => ({ bucket: "b", keys: keysOf(index) })),
  rest("BatchGet", "/b/batch-get", (index) => ({ keys: keysOf(index) })),
  grpc("Scan", () => toBinary(ScanRequestSchema, create(ScanRequestSchema, { bucket: "b" }))),
  grpc("ListKeys", () => toBinary(ListKeysRequestSchema, LIST)),
  { ...rest("ListKeys", "/keys/keys"), garbageBytes: LIST_TEXT_BYTES },
  { ...connectJson("ListKeys", () => ({ bucket: "keys", limit: 10_000 })), garbageBytes: LIST_TEXT_BYTES },
  { ...connectJson("Get", (index) => ({ bucket: "b", key: `k${index % KEYS}` })), calls: GETS },
  connectJson("GetHistory", (index) => ({ bucket: "history", key: `k${index % HISTORIES}` })),
];

const isExtended = isExtendedFor(
  "memory peaks of reads",
  "they store 500 MB, and take half a minute of CPU time",
);

function suite(): void {
  let meter: PeakMeter;
  beforeAll(async () => {
    meter = await PeakMeter.start({
      "total-unsent-response-bytes-max": String(TOTAL_BYTES),
      "call-timeout-ms": "60000",
    });
    await meter.createBucket("b");
    await meter.createBucket("keys");
    await meter.putAll("b", KEYS, (index) => [`k${index}`, Buffer.alloc(VALUE_BYTES, index)]);
    await meter.putAll("keys", LISTED_KEYS, (index) => [`${"x".repeat(400)}${index}`, "x"]);
    await meter.createBucket("history", HISTORY_REVISIONS);
    await meter.putAll("history", HISTORIES * HISTORY_REVISIONS, (index) => [
      `k${index % HISTORIES}`,
      Buffer.alloc(VALUE_BYTES, index),
    ]);
  });
  afterAll(() => meter.remove());

  it.each(READS)(
    "stays within the budgets for many calls at once, of which nothing may be sent: $name",
    async ({ name, head, bodyOf, calls = CALLS, garbageBytes = 0 }) => {
      const attack = async (): Promise<void> => {
        const session = await meter.openHttp2(setting(INITIAL_WINDOW_SIZE, 0));
        for (let index = 0; index < calls; index++) {
          const id = 1 + 2 * index;
          session.write(frame(Frame.HEADERS, END_HEADERS, id, head));
          session.write(frame(Frame.DATA, END_STREAM, id, bodyOf(index)));
        }
        await session.answered(calls);
        await session.roundTrip();
        await meter.stopped("ironflow_held_bytes");
        session.close();
      };
      expect(await meter.of(attack, `${name}, window 0`)).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES + READ_BYTES + garbageBytes,
      );
    },
    PEAK_TIMEOUT_MS,
  );
}

describePeaks("the peak of the resident memory", suite, isExtended);

/** The peak of the resident memory while a client starts reads of much, and lets nothing be sent. */
import { create, toBinary } from "@bufbuild/protobuf";
import { platform } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BatchGetRequestSchema,
  ListKeysRequestSchema,
  ScanRequestSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { INITIAL_WINDOW_SIZE } from "../../packages/http2/test/frames.js";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  RawSession,
  setting,
} from "../../packages/http2/test/raw-session.js";
import { isExtendedFor } from "../support/extended.js";
import { send1 } from "../support/http-client.js";
import { OVERHEAD_BYTES, PeakMeter, TOTAL_BYTES } from "./peaks.js";

const BUCKETS = "/api/v1/kv/buckets";
const KEYS = 400;
const VALUE_BYTES = 250_000;
const CALLS = 250;
/** SCAN_BYTES_MAX or TOTAL_PAGE_BYTES_MAX, and what NATS may send at once. */
const READ_BYTES = (64 + 28) * 1_048_576;

const batchOf = (index: number): Uint8Array =>
  toBinary(
    BatchGetRequestSchema,
    create(BatchGetRequestSchema, {
      bucket: "b",
      keys: Array.from({ length: 12 }, (_, at) => `k${(index * 7 + at) % KEYS}`),
    }),
  );
const READS: readonly (readonly [string, (index: number) => Uint8Array])[] = [
  ["BatchGet", batchOf],
  ["Scan", () => toBinary(ScanRequestSchema, create(ScanRequestSchema, { bucket: "b" }))],
  [
    "ListKeys",
    () => toBinary(ListKeysRequestSchema, create(ListKeysRequestSchema, { bucket: "keys", limit: 10_000 })),
  ],
];

const isExtended = isExtendedFor(
  "memory peaks of reads",
  "they store 100 MB, and take half a minute of CPU time",
);

describe.skipIf(platform() !== "linux" || !isExtended)("the peak of the resident memory", () => {
  let meter: PeakMeter;
  beforeAll(async () => {
    meter = await PeakMeter.start({
      "total-unsent-response-bytes-max": String(TOTAL_BYTES),
      "call-timeout-ms": "60000",
    });
    for (const name of ["b", "keys"]) await send1(meter.url, "POST", BUCKETS, { body: `{"name":"${name}"}` });
    for (let index = 0; index < KEYS; index += 20) {
      const puts = Array.from({ length: 20 }, (_, at) =>
        send1(meter.url, "PUT", `${BUCKETS}/b/keys/k${index + at}`, { body: Buffer.alloc(VALUE_BYTES, at) }),
      );
      await Promise.all(puts);
    }
    for (let index = 0; index < 4_000; index += 100) {
      const puts = Array.from({ length: 100 }, (_, at) =>
        send1(meter.url, "PUT", `${BUCKETS}/keys/keys/${"x".repeat(400)}${index + at}`, { body: "x" }),
      );
      await Promise.all(puts);
    }
  });
  afterAll(() => meter.target.remove());

  it.each(READS)(
    "stays within the budgets for many calls of %s at once, of which nothing may be sent",
    async (method, requestOf) => {
      const attack = async (): Promise<void> => {
        const session = await RawSession.open(meter.port, setting(INITIAL_WINDOW_SIZE, 0));
        const head = headerBlock({
          ":method": "POST",
          ":scheme": "http",
          ":authority": "localhost",
          ":path": `/ironflow.kv.v1.KeyValueService/${method}`,
          "content-type": "application/grpc",
          te: "trailers",
        });
        for (let index = 0; index < CALLS; index++) {
          const id = 1 + 2 * index;
          const message = Buffer.from(requestOf(index));
          const envelope = Buffer.alloc(5);
          envelope.writeUInt32BE(message.length, 1);
          session.write(frame(Frame.HEADERS, END_HEADERS, id, head));
          session.write(frame(Frame.DATA, END_STREAM, id, Buffer.concat([envelope, message])));
        }
        const answers = new Set<number>();
        await session.until(({ type, streamId }) => {
          if (type === Frame.HEADERS || type === Frame.RST_STREAM) answers.add(streamId);
          return answers.size === CALLS;
        });
        await session.roundTrip();
        session.close();
      };
      expect(await meter.of(attack, `${method}, window 0`)).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES + READ_BYTES,
      );
    },
    240_000,
  );
});

/** The messages of a scan are encoded from its entries, byte for byte as the library encodes the messages. */
import { equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  KeyValueService,
  type ScanResponse,
  ScanResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { Entry } from "../../src/kv/entry.js";
import type { ScanPart } from "../../src/kv/reads.js";
import { createMethodCodec } from "../../src/protocol/rpc/codec.js";
import { encodeScan } from "../../src/protocol/rpc/scan-encoder.js";
import { ScanStream } from "../../src/service/scan-stream.js";
import { anEntry, revision, timeMs } from "./any-entries.js";

const aPart: fc.Arbitrary<ScanPart> = fc.record(
  {
    entries: fc.array(anEntry, { maxLength: 8 }),
    revision,
    end: fc.record({ isComplete: fc.boolean(), bucketCreatedAtMs: timeMs }),
  },
  { requiredKeys: ["entries", "revision"] },
);

/** A scan of one part. */
// eslint-disable-next-line @typescript-eslint/require-await
async function* scanOf(part: ScanPart): AsyncGenerator<ScanPart, undefined> {
  yield part;
}

/** The message that the service makes of a part. */
async function messageOf(part: ScanPart): Promise<ScanResponse> {
  const result = await new ScanStream(scanOf(part), undefined).next();
  if (result.done === true) throw new Error("no message");
  return result.value;
}

it("is what the library encodes and decodes", async () => {
  await fc.assert(
    fc.asyncProperty(aPart, fc.constantFrom(0, 5), async (part, headBytes) => {
      const message = await messageOf(part);
      const encoded = encodeScan(message, headBytes)?.subarray(headBytes) ?? Buffer.alloc(0);
      expect(encoded.equals(toBinary(ScanResponseSchema, message))).toBe(true);
      expect(equals(ScanResponseSchema, fromBinary(ScanResponseSchema, encoded), message)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

it("encodes a part that is larger than the writer's first memory", async () => {
  const entries: Entry[] = Array.from({ length: 2_000 }, (_, index) => ({
    ...{ key: `key.${index}`, value: Buffer.alloc(1_000, index), revision: BigInt(index) },
    ...{ createdAtMs: 1_700_000_000_000 + index, createdAtNanos: index, operation: "put", contentType: "" },
  }));
  const message = await messageOf({ entries, revision: 2_000n });
  const codec = createMethodCodec(KeyValueService.method.scan, 1_048_576, undefined);
  expect(codec.encode(true, message, 0).equals(toBinary(ScanResponseSchema, message))).toBe(true);
});

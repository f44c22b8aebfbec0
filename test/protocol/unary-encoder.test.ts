/** The compiled encoders produce the library's output byte for byte, or leave the message to the library. */
import { create, type DescMessage, type Message, toBinary, toJsonString } from "@bufbuild/protobuf";
import {
  DurationSchema,
  FieldMaskSchema,
  FileDescriptorProtoSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import { WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BucketService, UpdateBucketRequestSchema } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  CommitResponseSchema,
  GetResponseSchema,
  KeyValueService,
  PutRequestSchema,
  WatchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { createBinaryEncoder } from "../../src/protocol/rpc/binary-encoder.js";
import { LargeValues } from "../../src/protocol/large-values.js";
import { createJsonWriter, type JsonWriter } from "../../src/protocol/rpc/json-encoder.js";
import { runs } from "../support/extended.js";
import { messageOf, text } from "../support/random-messages.js";

/** The library encodes it. */
const WITH_PACKED_LIST = CommitResponseSchema;
const ANSWERS = [...BucketService.methods, ...KeyValueService.methods].map((method) => method.output);

describe.each([...ANSWERS, PutRequestSchema, UpdateBucketRequestSchema, DurationSchema, FieldMaskSchema])(
  "$typeName",
  (desc) => {
    it("is encoded as by the library, or left to it for a packed list", () => {
      const encode = createBinaryEncoder(desc);
      fc.assert(
        fc.property(messageOf(desc), fc.constantFrom(0, 5), (message, headBytes) => {
          const framed = encode(message, headBytes);
          if (desc === WITH_PACKED_LIST) expect(framed).toBeUndefined();
          else expect(framed?.subarray(headBytes).equals(toBinary(desc, message))).toBe(true);
        }),
        { numRuns: runs(150) },
      );
    });

    it("is written as the library's JSON, or left to the library", () => {
      const write = createJsonWriter(desc);
      fc.assert(
        fc.property(messageOf(desc), (message) => {
          const text = jsonBy(write, message);
          if (text !== undefined) expect(text).toBe(toJsonString(desc, message));
        }),
        { numRuns: runs(150) },
      );
    });
  },
);

const time = fc.record({
  seconds: fc.oneof(
    fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n }),
    fc.constantFrom(0n, -1n, -62_135_596_800n, 253_402_300_799n, -62_135_596_801n, 253_402_300_800n),
  ),
  nanos: fc.oneof(
    fc.integer({ min: -5, max: 999_999_999 }),
    fc.constantFrom(0, 5_000_000, 5_000, 1_000_000_000),
  ),
});

function jsonBy(write: JsonWriter, message: Message): string | undefined {
  const large = new LargeValues();
  const text = write(message, large);
  return text === undefined ? undefined : large.encode(text).toString();
}

describe("JSON of an entry", () => {
  const write = createJsonWriter(GetResponseSchema);
  const entry = fc.record({
    key: text,
    value: fc.uint8Array({ maxLength: 50 }),
    revision: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    operation: fc.integer({ min: 0, max: 6 }),
    createdAt: fc.option(time, { nil: undefined }),
  });

  it("is the library's, and rejected if the library rejects it", () => {
    fc.assert(
      fc.property(entry, (fields) => {
        const message = create(GetResponseSchema, { entry: fields });
        const { seconds, nanos } = fields.createdAt ?? { seconds: 0n, nanos: 0 };
        const isWritten =
          seconds >= -62_135_596_800n && seconds <= 253_402_300_799n && nanos >= 0 && nanos <= 999_999_999;
        expect(jsonBy(write, message)).toBe(isWritten ? toJsonString(GetResponseSchema, message) : undefined);
        if (!isWritten) expect(() => toJsonString(GetResponseSchema, message)).toThrow();
      }),
      { numRuns: runs(500) },
    );
  });
});

describe("what is left to the library", () => {
  it.each<[what: string, desc: DescMessage, message: Message]>([
    ["a type with maps or special messages", ValueSchema, create(ValueSchema)],
    ["a type of proto2", FileDescriptorProtoSchema, create(FileDescriptorProtoSchema)],
    ["a message of another type", GetResponseSchema, create(PutRequestSchema)],
    [
      "a message with fields that are not known",
      PutRequestSchema,
      {
        ...create(PutRequestSchema),
        $unknown: [{ no: 99, wireType: WireType.Varint, data: new Uint8Array([1]) }],
      },
    ],
    ["text that is none", PutRequestSchema, { ...create(PutRequestSchema), key: 7 } as Message],
    ["no text at all", PutRequestSchema, { ...create(PutRequestSchema), key: null } as Message],
    [
      "a choice that is none",
      WatchResponseSchema,
      { ...create(WatchResponseSchema), event: undefined } as Message,
    ],
    ["a number too large", DurationSchema, create(DurationSchema, { nanos: 2 ** 31 })],
    ["a number that is not whole", DurationSchema, create(DurationSchema, { nanos: 0.5 })],
    ["a big number too large", DurationSchema, create(DurationSchema, { seconds: 2n ** 63n })],
  ])("%s", (_what, desc, message) => {
    expect(createBinaryEncoder(desc)(message, 0)).toBeUndefined();
  });

  it.each<[what: string, desc: DescMessage, message: Message]>([
    ["a type with maps or special messages", ValueSchema, create(ValueSchema)],
    ["a message of another type", GetResponseSchema, create(PutRequestSchema)],
    ["text that is none", PutRequestSchema, { ...create(PutRequestSchema), key: 7 } as Message],
    ["bytes that are none", PutRequestSchema, { ...create(PutRequestSchema), value: "x" } as Message],
  ])("in JSON: %s", (_what, desc, message) => {
    expect(createJsonWriter(desc)(message, new LargeValues())).toBeUndefined();
  });
});

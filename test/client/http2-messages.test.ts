/** The SDK's decoders and encoders do what the library does, for any message and for any bytes. */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  DurationSchema,
  FieldMaskSchema,
  FileDescriptorProtoSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { GetResponseSchema, KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ErrorDetailSchema, EntrySchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { decodeMessage } from "../../packages/client/src/binary/decoder.js";
import { encodeMessage } from "../../packages/client/src/binary/encoder.js";
import { keepByteOrderMarks } from "../../packages/client/src/text-encoding.js";
import { runs } from "../support/extended.js";
import { messageOf } from "../support/random-messages.js";

keepByteOrderMarks();
const METHODS = [...BucketService.methods, ...KeyValueService.methods];
const TYPES = new Set<DescMessage>([
  ...METHODS.flatMap(({ input, output }) => [input, output]),
  ...[ErrorDetailSchema, DurationSchema, FieldMaskSchema, FileDescriptorProtoSchema, ValueSchema],
]);

describe.each([...TYPES])("$typeName", (desc) => {
  // Recursive types, and types of editions with defaults, are the library's.
  const isOfThisProject = desc.file.proto.package.startsWith("ironflow");
  const messages = isOfThisProject ? messageOf(desc) : fc.constant(create(desc));

  it("is decoded as by the library", () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = toBinary(desc, message);
        expect(decodeMessage(desc, Buffer.from(bytes))).toEqual(fromBinary(desc, bytes));
      }),
      { numRuns: runs(15) },
    );
  });

  it("is decoded, or rejected, as by the library if its bytes are changed", () => {
    fc.assert(
      fc.property(messages, fc.array(fc.tuple(fc.nat(), fc.nat(255))), fc.nat(), (message, changes, cut) => {
        const bytes = toBinary(desc, message);
        for (const [at, byte] of changes) bytes[at % Math.max(1, bytes.length)] = byte;
        const part = bytes.slice(0, bytes.length - (cut % 5));
        const ours = resultOf(() => decodeMessage(desc, Buffer.from(part)));
        expect(ours).toEqual(resultOf(() => fromBinary(desc, part)));
      }),
      { numRuns: runs(15) },
    );
  });

  it("is encoded as by the library, from a message and from initial values", () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(0, 5), (message, headBytes) => {
        const expected = Buffer.from(toBinary(desc, message));
        expect(expected.equals(encodeMessage(desc, message, headBytes).subarray(headBytes))).toBe(true);
        const init = withoutTypeNames(message) as MessageInitShape<typeof desc>;
        expect(expected.equals(encodeMessage(desc, init, headBytes).subarray(headBytes))).toBe(true);
      }),
      { numRuns: runs(15) },
    );
  });
});

it.each([
  ["a number for a text", { key: 1 }],
  ["a text for a revision", { revision: "12" }],
  ["a negative revision", { revision: -1n }],
  ["a revision that is too large", { revision: 2n ** 64n }],
  ["a list of bytes", { value: [1, 2] }],
  ["a text for bytes", { value: "AQ==" }],
  ["null", { key: null, value: null, createdAt: null, metadata: null }],
  ["a fraction", { operation: 1.5 }],
  ["a negative operation", { operation: -1 }],
  ["a number in a map of text", { metadata: { a: 1 } }],
  ["a text for a message", { createdAt: "now" }],
  ["a message of another type", { createdAt: create(DurationSchema, { seconds: 5n }) }],
])("encodes or rejects %s as the library does", (_what, init) => {
  const fields = init as MessageInitShape<typeof EntrySchema>;
  expect(resultOf(() => Buffer.from(encodeMessage(EntrySchema, fields)))).toStrictEqual(
    resultOf(() => Buffer.from(toBinary(EntrySchema, create(EntrySchema, fields)))),
  );
});

it("keeps fields that it does not know, as the library does", () => {
  const entry = toBinary(EntrySchema, create(EntrySchema, { key: "a" }));
  const bytes = Uint8Array.of(0x0a, entry.length + 3, ...entry, 0xf8, 0x01, 0x05);
  const message = decodeMessage(GetResponseSchema, Buffer.from(bytes));
  expect(message).toEqual(fromBinary(GetResponseSchema, bytes));
  expect(Buffer.from(encodeMessage(GetResponseSchema, message))).toStrictEqual(Buffer.from(bytes));
});

it("decodes values as parts of the input, and not as Buffers", () => {
  const bytes = Buffer.from(
    toBinary(EntrySchema, create(EntrySchema, { key: "a", value: Uint8Array.of(1, 2) })),
  );
  const { value } = decodeMessage(EntrySchema, bytes);
  expect(value.constructor).toBe(Uint8Array);
  expect(value.buffer).toBe(bytes.buffer);
});

/** What a function returns, or the message of its error. */
function resultOf<Result>(run: () => Result): Result | string {
  try {
    return run();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The message as a plain object, as applications write requests. */
function withoutTypeNames(message: MessageShape<DescMessage>): unknown {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
    const entries = Object.entries(value).filter(([name]) => name !== "$typeName");
    return Object.fromEntries(entries.map(([name, field]) => [name, plain(field)]));
  };
  return plain(message);
}

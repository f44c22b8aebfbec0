/** What random calls of all kinds are made of. */
import { type DescMessage, type MessageShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { gzipSync } from "node:zlib";
import { MESSAGE_BYTES_MAX } from "./rpc-service.js";

export const SERVICE = "/ironflow.kv.v1.KeyValueService";

/** Mostly the first, now and then another. */
export function mostly<Value>(
  usual: fc.Arbitrary<Value>,
  ...rare: fc.Arbitrary<Value>[]
): fc.Arbitrary<Value> {
  return fc.oneof({ weight: 10, arbitrary: usual }, ...rare.map((arbitrary) => ({ weight: 1, arbitrary })));
}

/** A message's bytes: a valid one, or wrong. */
export function messageBytes<Desc extends DescMessage>(
  schema: Desc,
  valid: fc.Arbitrary<MessageShape<Desc>>,
  isJson: boolean,
): fc.Arbitrary<Uint8Array> {
  const good = valid.map((message) =>
    isJson ? new Uint8Array(Buffer.from(toJsonString(schema, message))) : toBinary(schema, message),
  );
  const odd = isJson
    ? fc
        .constantFrom(
          "",
          "{",
          "[]",
          "null",
          '{"new":1}',
          '{"key":1}',
          '{"revision":"-1"}',
          '{"key":"\u0000é"}',
        )
        .map((text) => new Uint8Array(Buffer.from(text)))
    : fc
        .constantFrom(
          [0x10],
          [0x12, 5, 0x61],
          [0x12, 1, 0xff],
          [0xf8, 1, 1],
          [0x0a, 0, 0x12, 1, 0x61],
          [0x1b],
          [0],
        )
        .map((bytes) => Uint8Array.from(bytes));
  return mostly(
    good,
    odd,
    fc.uint8Array({ maxLength: 40 }),
    fc
      .constantFrom(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1)
      .map((length) => new Uint8Array(length).fill(0x20)),
  );
}

function enveloped(message: Uint8Array, flags: number, lengthError = 0): Uint8Array {
  const bytes = Buffer.alloc(5 + message.length);
  bytes.writeUInt8(flags, 0);
  bytes.writeUInt32BE(message.length + lengthError, 1);
  bytes.set(message, 5);
  return bytes;
}

/** The body of a message in its envelope, or wrong. `isCompressed`: as the headers say. */
export function envelopedBody(
  one: fc.Arbitrary<Uint8Array>,
  isCompressed: boolean,
): fc.Arbitrary<Uint8Array> {
  const inEnvelope = one.map((message) =>
    isCompressed ? enveloped(gzipSync(message), 1) : enveloped(message, 0),
  );
  return mostly(
    inEnvelope,
    fc.tuple(inEnvelope, inEnvelope).map((both) => Buffer.concat(both)),
    fc.tuple(one, fc.constantFrom(0, 1, 2, 0x80)).map(([message, flags]) => enveloped(message, flags)),
    fc
      .tuple(one, fc.constantFrom(-1, 1, 70_000))
      .map(([message, error]) => (message.length + error < 0 ? message : enveloped(message, 0, error))),
    inEnvelope.map((bytes) => Buffer.concat([bytes, enveloped(Buffer.from("x: y\r\n"), 0x80)])),
    inEnvelope.map((bytes) => bytes.subarray(0, 3)),
    fc.constant(new Uint8Array(0)),
  );
}

/** Parts a body at random places; with no place, it is sent in one piece. */
export function inPieces(body: Uint8Array): fc.Arbitrary<Uint8Array[]> {
  return mostly(
    fc.constant([body]),
    fc.array(fc.nat(body.length), { minLength: 1, maxLength: 3 }).map((places) => {
      const cuts = [0, ...places.sort((left, right) => left - right), body.length];
      return cuts.slice(1).map((cut, index) => body.subarray(cuts[index], cut));
    }),
  );
}

export const timeout = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom("10S", "5000m", "99999999H", "60000", "1234567890"),
  fc.constantFrom("", "-1", "10", "1.5S", "999999999S", "12345678901", "S"),
);
export const encoding = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom("identity", "gzip", "br", "x"),
);
export const acceptEncoding = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom("gzip", "identity,deflate,gzip", "br, gzip", "gzip;q=1", "identity", ""),
);

export function compact(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** The body as the content type wants it: in base64, whole or in parts with padding, or wrong; or as it is. */
export function inBase64(type: string, body: Uint8Array): fc.Arbitrary<Uint8Array> {
  if (!/^application\/grpc-web-text/i.test(type)) return fc.constant(body);
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  return mostly(
    fc.constant(text(body)),
    fc.nat(body.length).map((cut) => text(body.subarray(0, cut)) + text(body.subarray(cut))),
    fc.constantFrom("=", "A", "AAA", "\n", "é", "====").map((odd) => text(body) + odd),
    fc.constant(text(body).replace(/=+$/, "")),
  ).map((encoded) => new Uint8Array(Buffer.from(encoded)));
}

/** The forms of gRPC-Web that a client reads. */
export const accept = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom(
    "application/grpc-web-text",
    "application/grpc-web",
    "*/*",
    "text/html, application/grpc-web-text+proto",
  ),
);

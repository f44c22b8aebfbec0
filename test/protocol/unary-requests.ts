/** Random calls in every wire form: most well-formed, the rest wrong in one or several ways. */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { gzipSync } from "node:zlib";
import { GetRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { RawRequest } from "./unary-client.js";
import { MESSAGE_BYTES_MAX } from "./unary-service.js";

const KEYS = ["", "a", "large", "error", "detail", "metadata", "long error", "fault", "ключ/🔑"];
const SERVICE = "/ironflow.kv.v1.KeyValueService";

/** Mostly the first, now and then another. */
function mostly<Value>(usual: fc.Arbitrary<Value>, ...rare: fc.Arbitrary<Value>[]): fc.Arbitrary<Value> {
  return fc.oneof({ weight: 10, arbitrary: usual }, ...rare.map((arbitrary) => ({ weight: 1, arbitrary })));
}

const contentType = mostly(
  fc.constantFrom(
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web+json",
    "application/proto",
    "application/json",
    "application/json; charset=utf-8",
  ),
  fc.constantFrom(
    "Application/JSON",
    "application/json;charset=UTF8",
    "application/json; charset=latin1",
    "application/grpc-web-text",
    "application/grpc+xml",
    "application/connect+proto",
    "text/plain",
    "",
  ),
);

const request = fc.record({
  key: fc.constantFrom(...KEYS),
  revision: fc.constantFrom(0n, 7n, 2n ** 64n - 1n),
});

function messageBytes(type: string): fc.Arbitrary<Uint8Array> {
  const isJson = /json/i.test(type);
  const valid = request.map((fields) => {
    const message = create(GetRequestSchema, fields);
    return isJson
      ? new Uint8Array(Buffer.from(toJsonString(GetRequestSchema, message)))
      : toBinary(GetRequestSchema, message);
  });
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
    valid,
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

/** The body of a message as its content type wants it, or wrong. */
function bodyOf(type: string, encoding: string | undefined): fc.Arbitrary<Uint8Array> {
  const compress = (bytes: Uint8Array): Uint8Array => (encoding === "gzip" ? gzipSync(bytes) : bytes);
  const one = messageBytes(type);
  if (!type.startsWith("application/grpc")) return one.map(compress);
  const usual = encoding === "gzip" ? 1 : 0;
  const inEnvelope = one.map((message) => enveloped(compress(message), usual));
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
function inPieces(body: Uint8Array): fc.Arbitrary<Uint8Array[]> {
  return mostly(
    fc.constant([body]),
    fc.array(fc.nat(body.length), { minLength: 1, maxLength: 3 }).map((places) => {
      const cuts = [0, ...places.sort((left, right) => left - right), body.length];
      return cuts.slice(1).map((cut, index) => body.subarray(cuts[index], cut));
    }),
  );
}

const timeout = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom("10S", "5000m", "99999999H", "60000", "1234567890"),
  fc.constantFrom("", "-1", "10", "1.5S", "999999999S", "12345678901", "S"),
);
const encoding = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom("identity", "gzip", "br", "x"),
);
const acceptEncoding = mostly(
  fc.constant<string | undefined>(undefined),
  fc.constantFrom("gzip", "identity,deflate,gzip", "br, gzip", "gzip;q=1", "identity", ""),
);

function compact(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** A POST of any kind. */
export const postRequest: fc.Arbitrary<RawRequest> = fc
  .record({
    version: fc.constantFrom(1 as const, 2 as const),
    method: mostly(fc.constant("POST"), fc.constantFrom("PUT", "PATCH", "OPTIONS", "DELETE")),
    target: mostly(
      fc.constantFrom(`${SERVICE}/Get`, `${SERVICE}/Put`),
      fc.constantFrom(`${SERVICE}/Watch`, `${SERVICE}/Nothing`, `${SERVICE}/Get?x=1`, `${SERVICE}/Get/`, "/"),
    ),
    type: contentType,
    timeout,
    encoding,
    acceptEncoding,
    sent: fc.constantFrom(undefined, "plain", "a, b", "%20"),
  })
  .chain((parts) => {
    const isGrpc = parts.type.startsWith("application/grpc");
    const headers = compact({
      "content-type": parts.type,
      [isGrpc ? "grpc-timeout" : "connect-timeout-ms"]: parts.timeout,
      [isGrpc ? "grpc-encoding" : "content-encoding"]: parts.encoding,
      [isGrpc ? "grpc-accept-encoding" : "accept-encoding"]: parts.acceptEncoding,
      "x-sent": parts.sent,
    });
    return bodyOf(parts.type, parts.encoding)
      .chain(inPieces)
      .map((body) => ({ version: parts.version, method: parts.method, target: parts.target, headers, body }));
  });

/** A GET of any kind. */
export const getRequest: fc.Arbitrary<RawRequest> = fc
  .record({
    version: fc.constantFrom(1 as const, 2 as const),
    path: mostly(fc.constant(`${SERVICE}/Get`), fc.constantFrom(`${SERVICE}/Put`, `${SERVICE}/Watch`, "/")),
    codec: mostly(fc.constantFrom("proto", "json"), fc.constantFrom("xml", "", undefined)),
    base64: mostly(fc.constantFrom("url", "standard"), fc.constantFrom("none", "broken")),
    version1: fc.constantFrom("v1", undefined, "v2"),
    compression: mostly(fc.constant<string | undefined>(undefined), fc.constantFrom("identity", "gzip", "x")),
    headers: mostly(
      fc.constant<Record<string, string>>({}),
      fc.constantFrom<Record<string, string>>(
        { "accept-encoding": "gzip" },
        { "connect-timeout-ms": "1000" },
        { "connect-timeout-ms": "x" },
        { "content-type": "application/json" },
        { "content-type": "text/plain" },
        { "content-encoding": "gzip" },
      ),
    ),
  })
  .chain((parts) =>
    messageBytes(parts.codec ?? "").map((bytes) => {
      const query = new URLSearchParams(
        compact({ connect: parts.version1, encoding: parts.codec, compression: parts.compression }),
      );
      const message = parts.compression === "gzip" ? gzipSync(bytes) : bytes;
      query.set("message", textOf(message, parts.base64));
      if (parts.base64 !== "none") query.set("base64", "1");
      const target = `${parts.path}?${query.toString()}`;
      return { version: parts.version, method: "GET", target, headers: parts.headers, body: undefined };
    }),
  );

function textOf(bytes: Uint8Array, form: string): string {
  if (form === "none") return Buffer.from(bytes).toString();
  if (form === "broken") return "a_-+=";
  return Buffer.from(bytes).toString(form === "url" ? "base64url" : "base64");
}

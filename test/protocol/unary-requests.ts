/** Random calls in every wire form: most well-formed, the rest wrong in one or several ways. */
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { gzipSync } from "node:zlib";
import { GetRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { RawRequest } from "./raw-client.js";
import {
  accept,
  acceptEncoding,
  compact,
  encoding,
  envelopedBody,
  inBase64,
  inPieces,
  messageBytes,
  mostly,
  SERVICE,
  timeout,
} from "./request-parts.js";

const KEYS = ["", "a", "large", "error", "detail", "metadata", "long error", "fault", "ключ/🔑"];

const contentType = mostly(
  fc.constantFrom(
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web+json",
    "application/grpc-web-text",
    "application/grpc-web-text+json",
    "application/proto",
    "application/json",
    "application/json; charset=utf-8",
  ),
  fc.constantFrom(
    "Application/JSON",
    "application/json;charset=UTF8",
    "application/json; charset=latin1",
    "Application/gRPC-Web-Text+proto",
    "application/grpc-web-text+xml",
    "application/grpc+xml",
    "application/connect+proto",
    "text/plain",
    "",
  ),
);

const request = fc
  .record({ key: fc.constantFrom(...KEYS), revision: fc.constantFrom(0n, 7n, 2n ** 64n - 1n) })
  .map((fields) => create(GetRequestSchema, fields));

const isJson = (type: string): boolean => /json/i.test(type);

/** The body of a message as its content type wants it, or wrong. */
function bodyOf(type: string, encoding: string | undefined): fc.Arbitrary<Uint8Array> {
  const one = messageBytes(GetRequestSchema, request, isJson(type));
  if (type.startsWith("application/grpc")) return envelopedBody(one, encoding === "gzip");
  return encoding === "gzip" ? one.map((bytes) => gzipSync(bytes)) : one;
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
    accept,
    sent: fc.constantFrom(undefined, "plain", "a, b", "%20"),
  })
  .chain((parts) => {
    const isGrpc = parts.type.startsWith("application/grpc");
    const headers = compact({
      "content-type": parts.type,
      [isGrpc ? "grpc-timeout" : "connect-timeout-ms"]: parts.timeout,
      [isGrpc ? "grpc-encoding" : "content-encoding"]: parts.encoding,
      [isGrpc ? "grpc-accept-encoding" : "accept-encoding"]: parts.acceptEncoding,
      accept: parts.accept,
      "x-sent": parts.sent,
    });
    return bodyOf(parts.type, parts.encoding)
      .chain((body) => inBase64(parts.type, body))
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
    messageBytes(GetRequestSchema, request, isJson(parts.codec ?? "")).map((bytes) => {
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

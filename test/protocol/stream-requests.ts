/** Random calls of a streaming method in every wire form: most well-formed, the rest wrong in one or several ways. */
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { WatchRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
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
import { OUTCOMES, REFUSALS } from "./stream-answers.js";

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
    "application/connect+proto",
    "application/connect+json",
  ),
  fc.constantFrom(
    "Application/Connect+JSON",
    "application/connect+json; charset=utf-8",
    "Application/gRPC-Web-Text+proto",
    "application/connect",
    "application/connect+xml",
    "application/json",
    "text/plain",
    "",
  ),
);

const request = fc
  .record({
    outcome: mostly(fc.constantFrom(...OUTCOMES), fc.constantFrom(...REFUSALS)),
    count: fc.constantFrom(0n, 1n, 6n),
  })
  .map(({ outcome, count }) => create(WatchRequestSchema, { filters: [outcome], startRevision: count }));

export const streamRequest: fc.Arbitrary<RawRequest> = fc
  .record({
    version: fc.constantFrom(1 as const, 2 as const),
    method: mostly(fc.constant("POST"), fc.constantFrom("GET", "PUT", "OPTIONS")),
    target: mostly(
      fc.constant(`${SERVICE}/Watch`),
      fc.constantFrom(`${SERVICE}/Watch?x=1`, `${SERVICE}/Watch/`),
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
    const prefix = isGrpc ? "grpc" : "connect";
    const headers = compact({
      "content-type": parts.type,
      [`${prefix}-timeout${isGrpc ? "" : "-ms"}`]: parts.timeout,
      [isGrpc ? "grpc-encoding" : "connect-content-encoding"]: parts.encoding,
      [`${prefix}-accept-encoding`]: parts.acceptEncoding,
      accept: parts.accept,
      "x-sent": parts.sent,
    });
    const message = messageBytes(WatchRequestSchema, request, parts.type.includes("json"));
    return envelopedBody(message, parts.encoding === "gzip")
      .chain((body) => inBase64(parts.type, body))
      .chain(inPieces)
      .map((body) => ({
        version: parts.version,
        method: parts.method,
        target: parts.target,
        headers,
        body: parts.method === "GET" ? undefined : body,
      }));
  });

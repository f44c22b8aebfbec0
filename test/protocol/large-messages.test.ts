/** Messages above MESSAGE_BYTES_MAX: the same error with its detail in every protocol, on the fast path and through the stock adapter. */
import { create, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GetRequestSchema, WatchRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { RawClient, withBinaryBody } from "./raw-client.js";
import { SERVICE } from "./request-parts.js";
import { MESSAGE_BYTES_MAX, startTestServer, type TestServer } from "./rpc-service.js";

const LONG = "k".repeat(MESSAGE_BYTES_MAX);
const SMALL_WATCH = toBinary(WatchRequestSchema, create(WatchRequestSchema));

function envelope(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

type Case = [name: string, method: string, headers: Record<string, string>, body: Uint8Array];

const get = create(GetRequestSchema, { key: LONG });
const GET = toBinary(GetRequestSchema, get);
const GET_JSON = Buffer.from(toJsonString(GetRequestSchema, get));
const WATCH = toBinary(WatchRequestSchema, create(WatchRequestSchema, { filters: [LONG] }));

const CASES: Case[] = [
  ["gRPC", "Get", { "content-type": "application/grpc", te: "trailers" }, envelope(GET)],
  ["gRPC, streaming", "Watch", { "content-type": "application/grpc", te: "trailers" }, envelope(WATCH)],
  [
    "gRPC, in the second message",
    "Watch",
    { "content-type": "application/grpc", te: "trailers" },
    Buffer.concat([envelope(SMALL_WATCH), envelope(WATCH)]),
  ],
  ["gRPC-Web", "Get", { "content-type": "application/grpc-web" }, envelope(GET)],
  [
    "gRPC-Web text",
    "Get",
    { "content-type": "application/grpc-web-text" },
    Buffer.from(envelope(GET).toString("base64")),
  ],
  ["Connect", "Get", { "content-type": "application/proto" }, GET],
  ["Connect in JSON", "Get", { "content-type": "application/json" }, GET_JSON],
  ["Connect, streaming", "Watch", { "content-type": "application/connect+proto" }, envelope(WATCH)],
  [
    "gRPC, compressed",
    "Get",
    { "content-type": "application/grpc", "grpc-encoding": "gzip", te: "trailers" },
    envelope(gzipSync(GET), 1),
  ],
  [
    "Connect, compressed",
    "Get",
    { "content-type": "application/proto", "content-encoding": "gzip" },
    gzipSync(GET),
  ],
];

describe.each([
  ["the fast path", true],
  ["the stock adapter", false],
])("%s", (_name, isFast) => {
  let server: TestServer;
  let client: RawClient;
  beforeAll(async () => {
    server = await startTestServer(isFast);
    client = new RawClient(server.port);
  });
  afterAll(async () => {
    client.close();
    await server.stop();
  });

  const versions = (name: string): readonly (1 | 2)[] => (/^gRPC(,|$)/.test(name) ? [2] : [1, 2]);

  it.each(CASES)("refuses a message that is too large: %s", async (name, method, headers, body) => {
    for (const version of versions(name)) {
      // In one piece, and in two, of which the first ends within the head of an envelope.
      for (const pieces of [[body], [body.subarray(0, 3), body.subarray(3)]]) {
        const target = `${SERVICE}/${method}`;
        const answer = withBinaryBody(
          await client.send({ version, method: "POST", target, headers, body: pieces }),
        );
        const text = JSON.stringify([answer.headers, answer.trailers]) + answer.body;
        expect(text).toMatch(/grpc-status"?: ?"?8|resource_exhausted/);
        expect(text.replaceAll("%20", " ").replace("%3B", ";")).toContain(
          `The message is too large; at most ${MESSAGE_BYTES_MAX} bytes are allowed.`,
        );
        expect(reasonIn(text)).toBe("body_too_large");
      }
    }
  });
});

/** The reason in the ErrorDetail of an answer, in base64: of gRPC within a google.rpc.Status, of Connect by itself. */
function reasonIn(text: string): string {
  const connect = /"value":"([\w+/=]+)"/.exec(text)?.[1];
  if (connect !== undefined) return fromBinary(ErrorDetailSchema, Buffer.from(connect, "base64")).reason;
  const status = /grpc-status-details-bin"?: ?"?([\w+/]+)/.exec(text)?.[1] ?? "";
  return /body_too_large/.exec(Buffer.from(status, "base64").toString("latin1"))?.[0] ?? "none";
}

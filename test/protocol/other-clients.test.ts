/** What clients need that are strict, or ask for more than they get: other upgrades, and gRPC's own percent-encoding. */
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { gunzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { credentials, makeGenericClientConstructor, type ServiceError } from "@grpc/grpc-js";
import { describe, expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { GetRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import {
  COMPRESSED_FLAG,
  ENVELOPE_HEAD_BYTES,
  envelope,
  TRAILER_FLAG,
} from "../../src/protocol/rpc/envelope.js";
import { encodeGrpcMessage } from "../../src/protocol/rpc/grpc-message.js";
import { serviceTest } from "../support/fixtures.js";
import { send1 } from "../support/http-client.js";
import { open1 } from "../support/sse-client.js";

const it = serviceTest()
  /** Sends pieces on one connection, one after the other; returns everything that the service sends until it closes. */
  .extend("exchange", ({ service }) => async (...pieces: string[]): Promise<string> => {
    const socket = connect(service.port, "127.0.0.1");
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk)).on("error", () => undefined);
    for (const piece of pieces) {
      await new Promise((resolve) => socket.write(piece, "latin1", resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await once(socket, "close");
    return Buffer.concat(chunks).toString("latin1");
  });
it.beforeAll(async ({ service }) => {
  await createClient({ serverUrl: service.url }).kv().createBucket({ name: "b" });
});

const GET = "/ironflow.kv.v1.KeyValueService/Get";
const BUCKET = "/api/v1/kv/buckets/b";
/** As Java's HttpClient and `curl --http2` send it. */
const H2C =
  "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";

describe("an unknown Upgrade is ignored", () => {
  const last = `GET ${BUCKET}/keys/k?raw=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;

  it.for<[string, string[]]>([
    ["a REST write", [`PUT ${BUCKET}/keys/k HTTP/1.1\r\n${H2C}Content-Length: 5\r\n\r\nhello`]],
    [
      "a body that comes later",
      [`PUT ${BUCKET}/keys/k HTTP/1.1\r\n${H2C}Content-Length: 5\r\n\r\n`, "hel", "lo"],
    ],
    [
      "a chunked body",
      [
        `PUT ${BUCKET}/keys/k HTTP/1.1\r\n${H2C}Transfer-Encoding: chunked\r\n\r\n`,
        "5\r\nhello\r\n0\r\n\r\n",
      ],
    ],
    [
      "a Connect call in JSON",
      [
        `POST /ironflow.kv.v1.KeyValueService/Put HTTP/1.1\r\n${H2C}Content-Type: application/json\r\nContent-Length: 45\r\n\r\n`,
        '{"bucket":"b","key":"k","value":"aGVsbG8=" } ',
      ],
    ],
  ])("with %s, and the connection stays open", async ([, pieces], { service, exchange }) => {
    await createClient({ serverUrl: service.url }).kv().bucket("b").purge("k");
    const answers = await exchange(...pieces, last);
    expect(answers).toMatch(/^HTTP\/1\.1 200 [^]*HTTP\/1\.1 200 [^]*hello$/);
  });

  it("with a GET", async ({ exchange }) => {
    const answers = await exchange(
      `GET ${BUCKET} HTTP/1.1\r\n${H2C.replace("Connection: ", "Connection: close, ")}\r\n`,
    );
    expect(answers).toMatch(/^HTTP\/1\.1 200 [^]*"name":"b"/);
  });

  const UPGRADE = {
    connection: "Upgrade, HTTP2-Settings",
    upgrade: "h2c",
    "http2-settings": "AAMAAABkAAQAAP__",
  };

  it("with an event stream", async ({ service }) => {
    const stream = await open1(service.url, `${BUCKET}/watch`, UPGRADE);
    expect([stream.status, stream.headers["content-type"]]).toEqual([200, "text/event-stream"]);
    stream.leave();
  });

  it.for([
    ["a gRPC-Web call", "application/grpc-web+proto"],
    ["a gRPC-Web call in base64", "application/grpc-web-text"],
    ["a Connect call in protobuf", "application/proto"],
  ] as const)("with %s", async ([, type], { service }) => {
    const message = toBinary(GetRequestSchema, create(GetRequestSchema, { bucket: "b", key: "absent" }));
    const framed = envelope(0, message);
    const body =
      type === "application/proto" ? message : type.endsWith("text") ? framed.toString("base64") : framed;
    const headers = { ...UPGRADE, "content-type": type };
    const { status, headers: answered, bytes } = await send1(service.url, "POST", GET, { headers, body });
    const text = type.endsWith("text")
      ? Buffer.from(bytes.toString(), "base64").toString()
      : bytes.toString();
    expect(status).toBe(type === "application/proto" ? 404 : 200);
    expect(answered["grpc-status"] ?? text).toMatch(/^5$|grpc-status: ?5|not_found/);
  });
});

describe("grpc-message", () => {
  it.each([
    ["The revision is not 99: it is 1.", "The revision is not 99: it is 1."],
    ["100 %", "100 %25"],
    ["é\n\u{1F600}", "%C3%A9%0A%F0%9F%98%80"],
    ["~ !\x7f\x1f", "~ !%7F%1F"],
    ["\ud800", "%EF%BF%BD"],
  ])("of %j", (message, encoded) => {
    expect(encodeGrpcMessage(message)).toBe(encoded);
  });

  it("is what grpc-js shows", async ({ service }) => {
    const same = (bytes: Buffer): Buffer => bytes;
    const Client = makeGenericClientConstructor(
      {
        get: {
          path: GET,
          requestStream: false,
          responseStream: false,
          requestSerialize: same,
          requestDeserialize: same,
          responseSerialize: same,
          responseDeserialize: same,
        },
      },
      "KeyValueService",
    );
    const client = new Client(`127.0.0.1:${service.port}`, credentials.createInsecure());
    const request = Buffer.from(
      toBinary(GetRequestSchema, create(GetRequestSchema, { bucket: "b", key: 'é: "%41"' })),
    );
    const error = await new Promise<ServiceError | null>((resolve) => {
      (client.get as (request: Buffer, done: (error: ServiceError | null) => void) => void)(request, resolve);
    });
    expect(error?.details).toContain('é: \\"%41\\"');
    client.close();
  });

  /** What the client sends; whether the fast path answers, or the stock adapter, as with compressed requests. */
  const requests = [
    ["the fast path", {}],
    ["the stock adapter", { "grpc-encoding": "gzip" }],
  ] as const;
  const key = 'é: "%41"';
  const expected = String.raw`%C3%A9: \"%2541\"`;
  /** Its trailers are longer than what is left uncompressed. */
  const longKey = `k: ${"k".repeat(500)}`;
  const messageFor = (asked: string): Buffer<ArrayBuffer> =>
    Buffer.from(
      envelope(0, toBinary(GetRequestSchema, create(GetRequestSchema, { bucket: "b", key: asked }))),
    );

  it.for(requests)("over gRPC from %s", async ([, fields], { service }) => {
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": GET,
      "content-type": "application/grpc",
      te: "trailers",
      ...fields,
    });
    const trailers = once(stream, "trailers");
    stream.resume().end(messageFor(key));
    const [received] = (await trailers) as [IncomingHttpHeaders];
    expect(received["grpc-message"]).toContain(expected);
    session.destroy();
  });

  it.for(requests)("over gRPC-Web from %s", async ([, fields], { service }) => {
    const headers = { "content-type": "application/grpc-web", ...fields };
    const answer = await fetch(service.url + GET, { method: "POST", headers, body: messageFor(key) });
    expect(await answer.text()).toContain(expected);
  });

  it.for(requests)("over gRPC-Web in base64 from %s", async ([, fields], { service }) => {
    const headers = { "content-type": "application/grpc-web-text", ...fields };
    const body = messageFor(key).toString("base64");
    const answer = await fetch(service.url + GET, { method: "POST", headers, body });
    expect(Buffer.from(await answer.text(), "base64").toString()).toContain(expected);
  });

  it.for(requests)("over gRPC-Web with compressed trailers from %s", async ([, fields], { service }) => {
    const headers = { "content-type": "application/grpc-web", "grpc-accept-encoding": "gzip", ...fields };
    const answer = await fetch(service.url + GET, { method: "POST", headers, body: messageFor(longKey) });
    const body = Buffer.from(await answer.arrayBuffer());
    expect(body[0]).toBe(TRAILER_FLAG | COMPRESSED_FLAG);
    expect(gunzipSync(body.subarray(ENVELOPE_HEAD_BYTES)).toString()).toContain('"k: kkk');
  });

  it("for a method that does not exist, without a body", async ({ service }) => {
    const headers = { "content-type": "application/grpc-web" };
    const answer = await fetch(`${service.url}/a.b/C:"d"`, { method: "POST", headers });
    expect(answer.headers.get("grpc-message")).toBe("There is no method /a.b/C:%2522d%2522.");
  });
});

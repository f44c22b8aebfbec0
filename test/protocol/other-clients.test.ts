/** What clients need that are strict, or ask for more than they get: other upgrades, and gRPC's own percent-encoding. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { credentials, makeGenericClientConstructor, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { GetRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { encodeGrpcMessage } from "../../src/protocol/rpc/grpc-message.js";
import { startTestService, type TestService } from "../support/service.js";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
  await createClient({ serverUrl: service.url }).kv().createBucket({ name: "b" });
});
afterAll(() => service.remove());

const BUCKET = "/api/v1/kv/buckets/b";
/** As Java's HttpClient and `curl --http2` send it. */
const H2C =
  "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";

/** Sends pieces on one connection, one after the other; returns everything that the service sends until it closes. */
async function exchange(...pieces: string[]): Promise<string> {
  const socket = connect(service.port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk)).on("error", () => undefined);
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, "latin1", resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await once(socket, "close");
  return Buffer.concat(chunks).toString("latin1");
}

describe("an unknown Upgrade is ignored", () => {
  const last = `GET ${BUCKET}/keys/k?raw=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;

  it.each<[string, string[]]>([
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
  ])("with %s, and the connection stays open", async (_, pieces) => {
    await createClient({ serverUrl: service.url }).kv().bucket("b").purge("k");
    const answers = await exchange(...pieces, last);
    expect(answers).toMatch(/^HTTP\/1\.1 200 [^]*HTTP\/1\.1 200 [^]*hello$/);
  });

  it("with a GET", async () => {
    const answers = await exchange(
      `GET ${BUCKET} HTTP/1.1\r\n${H2C.replace("Connection: ", "Connection: close, ")}\r\n`,
    );
    expect(answers).toMatch(/^HTTP\/1\.1 200 [^]*"name":"b"/);
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

  it("is what grpc-js shows", async () => {
    const same = (bytes: Buffer): Buffer => bytes;
    const Client = makeGenericClientConstructor(
      {
        get: {
          path: "/ironflow.kv.v1.KeyValueService/Get",
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

  it("is the same from the stock adapter, which answers compressed requests", async () => {
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/ironflow.kv.v1.KeyValueService/Get",
      "content-type": "application/grpc",
      "grpc-encoding": "unknown: 1",
      te: "trailers",
    });
    stream.resume().end(Buffer.from([1, 0, 0, 0, 1, 0]));
    const fields = await new Promise<Record<string, unknown>>((resolve) => {
      stream.on("response", (headers) => headers["grpc-status"] !== undefined && resolve(headers));
      stream.on("trailers", resolve);
    });
    expect(fields["grpc-message"]).toMatch(/unknown: 1|"/);
    session.destroy();
  });
});

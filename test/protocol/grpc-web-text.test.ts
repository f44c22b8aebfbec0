/** gRPC-Web in base64, on the fast path and through the stock adapter. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  GetRequestSchema,
  GetResponseSchema,
  WatchRequestSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { RawClient } from "./raw-client.js";
import { SERVICE } from "./request-parts.js";
import { startTestServer, type TestServer } from "./rpc-service.js";

const TEXT = "application/grpc-web-text";
const PATHS = [
  ["the fast path", true],
  ["the stock adapter", false],
] as const;

function envelope(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
}

const get = (key: string): Buffer => envelope(toBinary(GetRequestSchema, create(GetRequestSchema, { key })));
const THREE_EVENTS = envelope(
  toBinary(WatchRequestSchema, create(WatchRequestSchema, { startRevision: 3n })),
);

/** The envelopes in base64 text, which may have padding in its middle. */
function envelopesOf(text: string): { flags: number; data: Buffer }[] {
  expect(text).toMatch(/^([\w+/]+={0,2})+$/);
  const parts = [...text.matchAll(/[^=]+=*/g)].map(([part]) => Buffer.from(part, "base64"));
  let rest = Buffer.concat(parts);
  const envelopes = [];
  while (rest.length > 0) {
    const end = 5 + rest.readUInt32BE(1);
    envelopes.push({ flags: rest.readUInt8(0), data: rest.subarray(5, end) });
    rest = rest.subarray(end);
  }
  return envelopes;
}

describe.each(PATHS)("%s", (_name, isFast) => {
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

  const send = (version: 1 | 2, method: string, headers: Record<string, string>, ...body: Uint8Array[]) =>
    client.send({ version, method: "POST", target: `${SERVICE}/${method}`, headers, body });
  const base64 = (bytes: Uint8Array): Uint8Array => Buffer.from(Buffer.from(bytes).toString("base64"));

  it.each([1, 2] as const)("answers a unary call over HTTP/%s", async (version) => {
    const body = base64(get("a"));
    const answer = await send(
      version,
      "Get",
      { "content-type": TEXT, accept: TEXT },
      body.subarray(0, 5),
      body.subarray(5),
    );
    expect([answer.status, answer.headers["content-type"]]).toEqual([200, `${TEXT}+proto`]);
    const [message, trailers] = envelopesOf(answer.body);
    expect(fromBinary(GetResponseSchema, message?.data ?? Buffer.alloc(0)).entry?.key).toBe("a");
    expect([trailers?.flags, trailers?.data.toString()]).toEqual([
      0x80,
      expect.stringMatching(/^grpc-status: 0\r\n/),
    ]);
  });

  it.each([1, 2] as const)("streams over HTTP/%s", async (version) => {
    const answer = await send(version, "Watch", { "content-type": TEXT }, base64(THREE_EVENTS));
    expect(answer.headers["content-type"]).toBe(`${TEXT}+proto`);
    expect(envelopesOf(answer.body).map(({ flags }) => flags)).toEqual([0, 0, 0, 0x80]);
  });

  it("accepts base64 of several parts, each with padding", async () => {
    const parts = [get("a").subarray(0, 1), get("a").subarray(1)].map(base64);
    const answer = await send(1, "Get", { "content-type": TEXT }, Buffer.concat(parts));
    expect(envelopesOf(answer.body)).toHaveLength(2);
  });

  it.each([
    ["not base64", "!!!!"],
    ["base64url", "AAAAAA-_"],
    ["cut off", "AAAAAAA"],
    ["padding alone", "===="],
  ])("refuses a body that is %s as INVALID_ARGUMENT", async (_case, body) => {
    const { headers, body: text } = await send(1, "Get", { "content-type": TEXT }, Buffer.from(body));
    const trailers =
      text === "" ? JSON.stringify(headers) : (envelopesOf(text).at(-1)?.data.toString() ?? "");
    expect(trailers).toMatch(/grpc-status"?: ?"?3/);
    expect(trailers).toContain("base64");
  });

  it("answers in the form that Accept names", async () => {
    const typeOf = async (contentType: string, accept: string, body: Uint8Array): Promise<unknown> =>
      (await send(2, "Get", { "content-type": contentType, accept }, body)).headers["content-type"];
    expect(await typeOf("application/grpc-web+proto", TEXT, get("a"))).toBe(`${TEXT}+proto`);
    expect(await typeOf(TEXT, "application/grpc-web+proto", base64(get("a")))).toBe(
      "application/grpc-web+proto",
    );
    expect(await typeOf(TEXT, "*/*", base64(get("a")))).toBe(`${TEXT}+proto`);
  });
});

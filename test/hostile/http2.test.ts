/**
 * HTTP/2 as no client library speaks it, through the whole service: canceled and slow calls. What needs only the HTTP/2 server is in
 * packages/http2/test.
 */
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { pino } from "pino";
import { startTestService, type TestService } from "../support/service.js";
import {
  ACK,
  CANCEL,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  Frame,
  frame,
  headerBlock,
  RawSession,
  setting,
  uint32,
} from "../../packages/http2/test/raw-session.js";
import { flood } from "../../packages/http2/test/frames.js";

const BUCKETS = "/api/v1/kv/buckets";
const GRPC_GET = "/ironflow.kv.v1.KeyValueService/Get";
/** A value larger than the first window of a stream. */
const BIG = Buffer.alloc(300_000, "x");

let service: TestService;
beforeAll(async () => {
  service = await startTestService({
    "request-timeout-ms": "800",
    "answer-timeout-ms": "800",
    "idle-timeout-ms": "1000",
    "stream-resets-per-second-max": "20",
  });
  await fetch(service.url + BUCKETS, { method: "POST", body: '{"name":"b"}' });
  await fetch(`${service.url}${BUCKETS}/b/keys/big`, { method: "PUT", body: BIG });
});
afterAll(() => service.remove());
beforeEach(({ skip }) =>
  skip(process.env.TEST_HTTP2 === "node", "It tests our own HTTP/2 server; this run uses Node's."),
);

async function expectAlive(): Promise<void> {
  expect((await fetch(`${service.url}${BUCKETS}/b`)).status).toBe(200);
}

function head(method: string, path: string, fields: Record<string, string> = {}): Buffer {
  return headerBlock({ ":method": method, ":scheme": "http", ":authority": "x", ":path": path, ...fields });
}
const grpcHead = head("POST", GRPC_GET, { "content-type": "application/grpc" });

const streamId = (index: number): number => 1 + 2 * index;

describe("a flood over HTTP/2", () => {
  it.each([
    ["opened and canceled (CVE-2023-44487)", CANCEL],
    ["opened and reset without an error", 0],
  ])("ends the connection of 10,000 streams that are %s", async (_name, code) => {
    const session = await RawSession.open(service.port);
    await flood(session, 10_000, (index) => [
      frame(Frame.HEADERS, END_HEADERS, streamId(index), grpcHead),
      frame(Frame.RST_STREAM, 0, streamId(index), uint32(code)),
    ]);
    await session.closed();
    expect(session.goAwayCode).toBe(ENHANCE_YOUR_CALM);
    await expectAlive();
  });

  it("takes a few hundred canceled calls for what they are", async () => {
    const session = connectHttp2(service.url);
    const streams = Array.from({ length: 300 }, () =>
      session.request({ ":method": "POST", ":path": GRPC_GET, "content-type": "application/grpc" }),
    );
    for (const stream of streams) {
      stream.on("error", () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    expect(await statusOf(session, "/healthz")).toBe(200);
    session.destroy();
  });
});

it.each([
  ["REST", "PUT", `${BUCKETS}/b/keys/k`, "text/plain"],
  ["gRPC", "POST", GRPC_GET, "application/grpc"],
  ["a stream", "POST", "/ironflow.kv.v1.KeyValueService/Watch", "application/grpc"],
  ["no door", "POST", "/nobody", "text/plain"],
])(
  "a stream that was reset before anyone looked at it does no harm to %s",
  async (_name, method, path, type) => {
    const session = await RawSession.open(service.port);
    let opened = 0;
    for (const fields of [{}, { expect: "100-continue" }, { origin: "https://evil.example" }]) {
      for (const flags of [END_HEADERS, END_HEADERS | END_STREAM]) {
        const id = streamId(opened++);
        session.write(
          frame(Frame.HEADERS, flags, id, head(method, path, { "content-type": type, ...fields })),
          frame(Frame.RST_STREAM, 0, id, uint32(CANCEL)),
        );
      }
    }
    session.write(frame(Frame.PING, 0, 0, Buffer.alloc(8)));
    await session.until((received) => received.type === Frame.PING && received.flags === ACK);
    expect(session.isClosed).toBe(false);
    session.close();
    await expectAlive();
  },
);

describe("a slow client over HTTP/2", () => {
  it.each([
    ["gRPC", GRPC_GET, { "content-type": "application/grpc" }],
    [
      "compressed gRPC, on the stock adapter",
      GRPC_GET,
      { "content-type": "application/grpc", "grpc-encoding": "gzip" },
    ],
    ["Connect", GRPC_GET, { "content-type": "application/json" }],
  ])("loses a %s request that it does not end, and keeps the connection", async (_name, path, headers) => {
    const session = connectHttp2(service.url);
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    stream.on("error", () => undefined);
    stream.write(Buffer.from([0, 0]));
    await once(stream, "close");
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
    expect(await statusOf(session, "/healthz")).toBe(200);
    session.destroy();
  });

  it("loses an answer that it does not take, and keeps the connection", async () => {
    // Nothing may be sent on a stream until it is told otherwise.
    const session = await RawSession.open(service.port, setting(4, 0));
    session.write(
      frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, head("GET", `${BUCKETS}/b/keys/big?raw=true`)),
    );
    const reset = await session.until(({ type }) => type === Frame.RST_STREAM);
    expect(reset?.payload.readUInt32BE(0)).toBe(CANCEL);
    session.write(frame(Frame.PING, 0, 0, Buffer.alloc(8)));
    await session.until(({ type, flags }) => type === Frame.PING && flags === ACK);
    expect(session.isClosed).toBe(false);
    session.close();
  });
});

it.each([
  ["a method", head("POST", GRPC_GET, { "content-type": "application/grpc", expect: "100-continue" })],
  ["a resource", head("PUT", `${BUCKETS}/b/keys/k`, { expect: "100-continue" })],
])(
  "a call of %s that waits to go on, and is broken off at once, is no fault of ours",
  async (_name, fields) => {
    const logged: string[] = [];
    const logger = pino({ level: "error" }, { write: (line) => void logged.push(line) });
    const own = await startTestService({}, logger);
    try {
      const session = await RawSession.open(own.port);
      for (let index = 0; index < 50; index++)
        session.write(
          Buffer.concat([
            frame(Frame.HEADERS, END_HEADERS, streamId(index), fields),
            frame(Frame.DATA, 0, streamId(index), Buffer.from("some")),
            frame(Frame.RST_STREAM, 0, streamId(index), uint32(CANCEL)),
          ]),
        );
      session.write(frame(Frame.PING, 0, 0, Buffer.alloc(8)));
      await session.until(({ type, flags }) => type === Frame.PING && flags === ACK);
      session.close();
      expect((await fetch(`${own.url}/healthz`)).status).toBe(200);
      expect(logged).toEqual([]);
    } finally {
      await own.remove();
    }
  },
);

async function statusOf(session: ClientHttp2Session, path: string): Promise<unknown> {
  const stream = session.request({ ":path": path });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  stream.resume();
  return headers[":status"];
}

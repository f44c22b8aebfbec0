/** Streaming on the fast path beyond its equality with the stock adapter: timing, batching, and release of resources. */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from "node:http2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WatchRequestSchema, WatchResponseSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { CallInput } from "../../src/service/calls.js";
import { change, FakeWatch } from "../support/fake-watch.js";
import { type TestServer, startTestServer } from "./rpc-service.js";

const WATCH = "/ironflow.kv.v1.KeyValueService/Watch";
const GRPC = "application/grpc";
const REQUEST = create(WatchRequestSchema, { bucket: "b" });

let server: TestServer;
let session: ClientHttp2Session;
let watch: FakeWatch;

beforeEach(async () => {
  server = await startTestServer(true);
  session = connectHttp2(`http://127.0.0.1:${server.port}`);
  session.on("error", () => undefined);
  watch = new FakeWatch();
  server.registry.streamHandler = () => watch;
});

afterEach(async () => {
  expect(server.taken).toBeGreaterThan(0);
  session.destroy();
  await server.stop();
});

function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function requestOf(type: string): Buffer {
  const isJson = type.endsWith("json");
  return enveloped(
    isJson ? Buffer.from(toJsonString(WatchRequestSchema, REQUEST)) : toBinary(WatchRequestSchema, REQUEST),
  );
}

function openHttp2(type = GRPC, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({ ":method": "POST", ":path": WATCH, "content-type": type, ...headers });
  stream.on("error", () => undefined);
  stream.end(requestOf(type));
  return stream;
}

function openHttp1(type: string): ClientRequest {
  const { port } = server;
  const body = requestOf(type);
  const headers = { "content-type": type, "content-length": body.length };
  const call = httpRequest({ port, host: "127.0.0.1", agent: false, method: "POST", path: WATCH, headers });
  call.on("error", () => undefined);
  call.end(body);
  return call;
}

/** The bytes of the body until there are so many. */
async function read(body: ClientHttp2Stream | IncomingMessage, length: number): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  while (bytes.length < length) {
    const chunk = body.read() as Buffer | null;
    if (chunk === null) await once(body, "readable");
    else bytes = Buffer.concat([bytes, chunk]);
  }
  return bytes;
}

/** A round trip on the connection: what was sent before has arrived, and been worked on. */
function ping(): Promise<unknown> {
  return new Promise((resolve) => session.ping(resolve));
}

describe("headers", () => {
  it.each([GRPC, "application/grpc-web", "application/connect+json"])(
    "of %s over HTTP/2 arrive when the stream has started, before any event",
    async (type) => {
      const stream = openHttp2(type);
      await once(stream, "response");
      watch.push(change(1n));
      expect(await read(stream, 5)).toMatchObject({ 0: 0 });
    },
  );

  it.each(["application/grpc-web", "application/connect+proto"])(
    "of %s over HTTP/1.1 do too",
    async (type) => {
      const call = openHttp1(type);
      const [response] = (await once(call, "response")) as [IncomingMessage];
      watch.push(change(1n));
      expect(await read(response, 5)).toMatchObject({ 0: 0 });
      call.destroy();
    },
  );

  it("are not sent before the stream has started", async () => {
    let place: () => void = () => undefined;
    const placing = new Promise<void>((resolve) => (place = resolve));
    let hasHeaders = false;
    const asked = new Promise<void>((resolve) => {
      server.registry.placeStream = () => {
        resolve();
        return placing;
      };
    });
    const stream = openHttp2();
    stream.once("response", () => (hasHeaders = true));
    await asked;
    await ping();
    expect(hasHeaders).toBe(false);
    place();
    await once(stream, "response");
  });
});

describe("events", () => {
  it("reach every stream that shares them, each in its own wire format", async () => {
    const event = change(1n, Buffer.alloc(2_000, "v"));
    const binary = enveloped(toBinary(WatchResponseSchema, event));
    const watches = [new FakeWatch(), new FakeWatch(), new FakeWatch(), new FakeWatch()];
    server.registry.streamHandler = () => watches.pop() ?? watch;
    const all = [...watches];
    const plain = [openHttp2(GRPC), openHttp2(GRPC), openHttp2("application/connect+json")];
    const zipped = openHttp2(GRPC, { "grpc-accept-encoding": "gzip" });
    await Promise.all([...plain, zipped].map((stream) => once(stream, "response")));
    for (const one of all) one.push(event);
    for (const stream of plain.slice(0, 2)) expect(await read(stream, binary.length)).toEqual(binary);
    const json = await read(plain[2] as ClientHttp2Stream, 2_000);
    expect(JSON.parse(json.subarray(5).toString())).toMatchObject({ change: { entry: { revision: "1" } } });
    const [flags] = await read(zipped, 20);
    expect(flags).toBe(1);
  });

  it("arrive in order, with compressed and uncompressed ones mixed", async () => {
    const stream = openHttp2(GRPC, { "grpc-accept-encoding": "gzip" });
    for (let revision = 1n; revision <= 50n; revision++) {
      watch.push(change(revision, Buffer.alloc(revision % 3n === 0n ? 5_000 : 5, "v")));
    }
    const heads: number[] = [];
    let bytes: Buffer = Buffer.alloc(0);
    while (heads.length < 50) {
      bytes = Buffer.concat([bytes, await read(stream, 1)]);
      while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
        heads.push(bytes.readUInt8(0));
        bytes = bytes.subarray(5 + bytes.readUInt32BE(1));
      }
    }
    expect(heads).toEqual(Array.from({ length: 50 }, (_, index) => ((index + 1) % 3 === 0 ? 1 : 0)));
  });

  it("before one that can't be encoded are sent, then the failure", async () => {
    const malformed = create(WatchResponseSchema, { event: { case: "progress", value: { revision: -1n } } });
    const stream = openHttp2();
    watch.push(change(1n), change(2n), malformed);
    const [trailers] = (await once(stream.resume(), "trailers")) as [Record<string, unknown>];
    expect(trailers).toMatchObject({ "grpc-status": String(Code.Internal) });
    await watch.returned();
    expect(watch.taken).toBe(3);
  });
});

describe("a client that does not read", () => {
  /** Far more than fits any buffer on the way. */
  const events = Array.from({ length: 2_000 }, (_, index) => change(BigInt(index + 1), Buffer.alloc(30_000)));

  it("over HTTP/2 is sent no more than its window, and then resumes", async () => {
    const stream = openHttp2();
    await once(stream, "response");
    watch.push(...events);
    await ping();
    await ping();
    expect(watch.taken).toBeLessThan(50);
    const size = toBinary(WatchResponseSchema, events[0] ?? change(1n)).length + 5;
    await read(stream, 100 * size);
    expect(watch.taken).toBeGreaterThanOrEqual(100);
  });

  it("over HTTP/1.1 is sent no more than the write buffer holds", async () => {
    const call = openHttp1("application/connect+proto");
    const [response] = (await once(call, "response")) as [IncomingMessage];
    response.pause();
    watch.push(...events);
    await ping();
    await ping();
    expect(watch.taken).toBeLessThan(1_000);
    call.destroy();
    await watch.returned();
  });

  it("releases its watch at once when it resets the stream", async () => {
    const stream = openHttp2();
    await once(stream, "response");
    watch.push(...events);
    await ping();
    stream.close(8);
    await watch.returned();
  });

  it("releases its watch at once when its connection is lost", async () => {
    const stream = openHttp2();
    await once(stream, "response");
    watch.push(...events);
    await ping();
    session.destroy();
    await watch.returned();
  });
});

describe("a stream", () => {
  it("is released at once when an HTTP/2 client resets it", async () => {
    const stream = openHttp2();
    await once(stream, "response");
    stream.close(8);
    await watch.returned();
  });

  it("is released at once when an HTTP/2 connection is lost", async () => {
    await once(openHttp2(), "response");
    session.destroy();
    await watch.returned();
  });

  it.each(["application/grpc-web", "application/connect+json"])(
    "of %s is released at once when an HTTP/1.1 client disconnects",
    async (type) => {
      const call = openHttp1(type);
      await once(call, "response");
      call.destroy();
      await watch.returned();
    },
  );

  it("is released when its client disconnected before it started", async () => {
    let place: () => void = () => undefined;
    const placing = new Promise<void>((resolve) => (place = resolve));
    const asked = new Promise<void>((resolve) => {
      server.registry.placeStream = () => {
        resolve();
        return placing;
      };
    });
    const stream = openHttp2();
    await asked;
    stream.close(8);
    await ping();
    place();
    await watch.returned();
  });

  it("ends at its deadline, even in the middle and if no handler observes the signal", async () => {
    const stream = openHttp2(GRPC, { "grpc-timeout": "1500m" });
    watch.push(change(1n));
    await read(stream, 5);
    const [trailers] = (await once(stream.resume(), "trailers")) as [Record<string, unknown>];
    expect(trailers).toMatchObject({
      "grpc-status": String(Code.DeadlineExceeded),
      "grpc-message": "the operation timed out",
    });
    await watch.returned();
  });

  it("does not start after its deadline", async () => {
    const stream = openHttp2(GRPC, { "grpc-timeout": "1n" });
    const [trailers] = (await once(stream.resume(), "trailers")) as [Record<string, unknown>];
    expect(trailers).toMatchObject({ "grpc-status": String(Code.DeadlineExceeded) });
  });

  it("is reset, not ended, if its headers can't be sent", async () => {
    server.registry.streamHandler = (call) => {
      (call as CallInput & { ownHeaders?: Headers }).ownHeaders = new Headers({ connection: "close" });
      return watch;
    };
    const stream = openHttp2();
    await new Promise((resolve) => stream.once("close", resolve));
    expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    await watch.returned();
  });

  it("hides an internal error from the client, and logs it", async () => {
    const stream = openHttp2();
    watch.push(change(1n), new TypeError("secret"));
    const [trailers] = (await once(stream.resume(), "trailers")) as [Record<string, unknown>];
    expect(trailers).toMatchObject({ "grpc-message": "internal error" });
    expect(server.logged).toHaveLength(1);
  });
});

/** Cancellation, deadlines, internal errors and misbehaving clients, on the fast path and on the stock adapter. */
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GetRequestSchema, GetResponseSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { CallInput } from "../../src/service/calls.js";
import { MESSAGE_BYTES_MAX, type TestServer, startTestServer } from "./rpc-service.js";

const GET = "/ironflow.kv.v1.KeyValueService/Get";
const MESSAGE = toBinary(GetRequestSchema, create(GetRequestSchema, { key: "a" }));
const TOO_LARGE = Buffer.alloc(200_000, 0x20);

function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Runs until it is cancelled; tells why. */
function untilAborted(): { handler: (call: CallInput) => Promise<never>; reason: Promise<ConnectError> } {
  let tell: (reason: ConnectError) => void = () => undefined;
  const reason = new Promise<ConnectError>((resolve) => (tell = resolve));
  const handler = async ({ signal }: CallInput): Promise<never> => {
    if (!signal.aborted) await once(signal, "abort");
    tell(ConnectError.from(signal.reason));
    throw signal.reason;
  };
  return { handler, reason };
}

describe.each([
  ["fast path", true],
  ["stock adapter", false],
])("%s", (_name, isFast) => {
  let server: TestServer;
  let session: ClientHttp2Session;
  let agent: Agent;

  beforeEach(async () => {
    server = await startTestServer(isFast);
    session = connectHttp2(`http://127.0.0.1:${server.port}`);
    session.on("error", () => undefined);
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
  });

  afterEach(async () => {
    session.destroy();
    agent.destroy();
    await server.stop();
  });

  function callGrpc(headers: Record<string, string> = {}): ClientHttp2Stream {
    const stream = session.request({
      ":method": "POST",
      ":path": GET,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    stream.on("error", () => undefined);
    return stream;
  }

  async function trailersOf(stream: ClientHttp2Stream): Promise<Record<string, unknown>> {
    stream.resume();
    const [trailers] = (await once(stream, "trailers")) as [Record<string, unknown>];
    return trailers;
  }

  async function post(body: Uint8Array, type = "application/proto"): Promise<IncomingMessage> {
    const { port } = server;
    const headers = { "content-type": type, "content-length": body.length };
    const call = httpRequest({ port, host: "127.0.0.1", agent, method: "POST", path: GET, headers });
    // The server may answer before it has read everything.
    call.on("error", () => undefined);
    call.end(body);
    const [response] = (await once(call, "response")) as [IncomingMessage];
    response.resume();
    await once(response, "end");
    return response;
  }

  it("aborts the call's signal when an HTTP/2 client resets its stream", async () => {
    const { handler, reason } = untilAborted();
    server.registry.handler = handler;
    const stream = callGrpc();
    stream.end(enveloped(MESSAGE));
    await once(session, "remoteSettings");
    setImmediate(() => stream.close(0x8));
    expect((await reason).code).toBe(Code.Canceled);
  });

  it("aborts the call's signal when an HTTP/2 connection is lost", async () => {
    const { handler, reason } = untilAborted();
    const running = new Promise<void>((resolve) => {
      server.registry.handler = (call) => {
        resolve();
        return handler(call);
      };
    });
    callGrpc().end(enveloped(MESSAGE));
    await running;
    session.destroy();
    expect(await reason).toBeInstanceOf(ConnectError);
  });

  it("aborts the call's signal when an HTTP/1.1 client disconnects", async () => {
    const { handler, reason } = untilAborted();
    const running = new Promise<void>((resolve) => {
      server.registry.handler = (call) => {
        resolve();
        return handler(call);
      };
    });
    const socket = await openSocket(server.port);
    socket.write(
      `POST ${GET} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
    );
    await running;
    socket.destroy();
    expect(await reason).toBeInstanceOf(ConnectError);
  });

  it("aborts the call's signal at its deadline, with that reason", async () => {
    const { handler, reason } = untilAborted();
    server.registry.handler = handler;
    const stream = callGrpc({ "grpc-timeout": "20m" });
    stream.end(enveloped(MESSAGE));
    expect(await trailersOf(stream)).toMatchObject({ "grpc-status": String(Code.DeadlineExceeded) });
    expect((await reason).code).toBe(Code.DeadlineExceeded);
  });

  it.each(["99999999H", "2147484S"])("runs a call with the timeout %s", async (timeout) => {
    server.registry.handler = async ({ signal }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      signal.throwIfAborted();
      return create(GetResponseSchema);
    };
    const stream = callGrpc({ "grpc-timeout": timeout });
    stream.end(enveloped(MESSAGE));
    expect(await trailersOf(stream)).toMatchObject({ "grpc-status": "0" });
  });

  it("never runs a call with a truncated body", async () => {
    let calls = 0;
    server.registry.handler = () => {
      calls++;
      return Promise.resolve(create(GetResponseSchema));
    };
    const socket = await openSocket(server.port);
    const lost = connectHttp2(`http://127.0.0.1:${server.port}`, { createConnection: () => socket });
    lost.on("error", () => undefined);
    const stream = lost.request({ ":method": "POST", ":path": GET, "content-type": "application/grpc" });
    stream.on("error", () => undefined);
    // The message is complete, the request is not: more may have been to come.
    await new Promise((resolve) => stream.write(enveloped(MESSAGE), resolve));
    await new Promise((resolve) => lost.ping(resolve));
    socket.destroy();
    await once(lost, "close");
    const after = callGrpc();
    after.end(enveloped(MESSAGE));
    await trailersOf(after);
    expect(calls).toBe(1);
  });

  it("rejects an oversized message before it has arrived completely", async () => {
    const stream = callGrpc();
    stream.write(enveloped(TOO_LARGE).subarray(0, MESSAGE_BYTES_MAX));
    expect(await trailersOf(stream)).toMatchObject({ "grpc-status": String(Code.ResourceExhausted) });
    const after = callGrpc();
    after.end(enveloped(MESSAGE));
    expect(await trailersOf(after)).toMatchObject({ "grpc-status": "0" });
  });

  it("returns the connection window of rejected HTTP/2 bodies", async () => {
    for (let count = 0; count < 40; count++) {
      const stream = callGrpc();
      stream.end(enveloped(TOO_LARGE));
      expect(await trailersOf(stream)).toMatchObject({ "grpc-status": String(Code.ResourceExhausted) });
    }
  });

  it.each(["application/proto", "application/grpc-web+proto"])(
    "keeps an HTTP/1.1 connection usable after a %s body that is too large",
    async (type) => {
      for (let count = 0; count < 3; count++) await post(enveloped(TOO_LARGE), type);
      expect((await post(MESSAGE)).statusCode).toBe(200);
    },
  );

  it("accepts a body that arrives byte by byte", async () => {
    const stream = callGrpc();
    for (const byte of enveloped(MESSAGE)) stream.write(Uint8Array.of(byte));
    stream.end();
    expect(await trailersOf(stream)).toMatchObject({ "grpc-status": "0" });
  });

  it("hides an internal error from the client", async () => {
    server.registry.handler = () => Promise.reject(new TypeError("secret"));
    const stream = callGrpc();
    stream.end(enveloped(MESSAGE));
    expect(await trailersOf(stream)).toMatchObject({
      "grpc-status": String(Code.Internal),
      "grpc-message": "internal error",
    });
  });

  it("survives a client that disconnected before the response", async () => {
    let answer: () => void = () => undefined;
    const running = new Promise<void>((resolve) => {
      server.registry.handler = () => {
        resolve();
        return new Promise((done) => (answer = () => done(create(GetResponseSchema))));
      };
    });
    const stream = callGrpc();
    stream.end(enveloped(MESSAGE));
    await running;
    stream.close(0x8);
    await once(stream, "close");
    server.registry.handler = undefined;
    answer();
    const after = callGrpc();
    after.end(enveloped(MESSAGE));
    expect(await trailersOf(after)).toMatchObject({ "grpc-status": "0" });
    expect(server.logged).toEqual([]);
  });

  it.each(["[", "a b", "a:b:c", ""])("answers the host %j with 400, and keeps serving", async (host) => {
    const socket = await openSocket(server.port);
    const head = `POST ${GET} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n`;
    socket.write(`${head}\r\n{}`);
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 400 /);
    socket.destroy();
    expect((await post(MESSAGE)).statusCode).toBe(200);
  });

  it("answers a malformed :authority with 400", async () => {
    const stream = callGrpc({ ":authority": "[" });
    stream.end(enveloped(MESSAGE));
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(400);
  });
});

async function openSocket(port: number): Promise<Socket> {
  const socket = connectSocket(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** HTTP/1.1 requests that bypass Node's server, and connections that fall back to it: clients see no difference. */
import fc from "fast-check";
import { once } from "node:events";
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { describe, expect } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { listen } from "../../src/listener/listener.js";
import { serviceTest } from "../support/fixtures.js";

const BUCKETS = "/api/v1/kv/buckets";
const KEYS = `${BUCKETS}/b/keys`;

const it = serviceTest({ "idle-timeout-ms": "1000" });
it.beforeAll(async ({ service }) => {
  await fetch(service.url + BUCKETS, { method: "POST", body: '{"name":"b"}' });
  await fetch(`${service.url}${KEYS}/k`, { method: "PUT", body: "value" });
  await fetch(`${service.url}${KEYS}/long`, { method: "PUT", body: "x".repeat(300_000) });
});

/** A raw TCP client. */
class RawClient {
  private text = "";
  isClosed = false;

  private constructor(readonly socket: Socket) {
    socket.setEncoding("latin1");
    socket.setMaxListeners(0);
    socket.on("data", (chunk: string) => (this.text += chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => (this.isClosed = true));
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new RawClient(socket);
  }

  /** Reads the next response, which must have a Content-Length. */
  async answer(): Promise<{ status: number; headers: Record<string, string>; body: string }> {
    for (;;) {
      const end = this.text.indexOf("\r\n\r\n");
      if (end >= 0) {
        const [first = "", ...lines] = this.text.slice(0, end).split("\r\n");
        const headers = Object.fromEntries(
          lines.map((line) => [
            line.slice(0, line.indexOf(":")).toLowerCase(),
            line.slice(line.indexOf(":") + 2),
          ]),
        );
        const length = Number(headers["content-length"] ?? 0);
        if (this.text.length >= end + 4 + length) {
          const body = this.text.slice(end + 4, end + 4 + length);
          this.text = this.text.slice(end + 4 + length);
          return { status: Number(first.split(" ")[1]), headers, body };
        }
      }
      if (this.isClosed) throw new Error(`closed after ${JSON.stringify(this.text)}`);
      await Promise.race([once(this.socket, "data"), once(this.socket, "close")]);
    }
  }
}

function request(method: string, path: string, headers: Record<string, string> = {}, body = ""): string {
  const lines = Object.entries({ Host: "x", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === "" ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}${length}\r\n${body}`;
}

const SERVICE = "/ironflow.kv.v1.KeyValueService";
/** A GetRequest of bucket "b" and key "k" in its envelope. */
const GRPC_WEB_GET = "\0\0\0\0\x06\n\x01b\x12\x01k";

function rpc(method: string, body: string, headers: Record<string, string> = {}): string {
  return request("POST", `${SERVICE}/${method}`, { "Content-Type": "application/json", ...headers }, body);
}

const GET = request("GET", `${KEYS}/k`);

/** The response without the headers that differ each time. */
function comparable({ status, headers, body }: Awaited<ReturnType<RawClient["answer"]>>): unknown {
  const stable = Object.entries(headers).filter(([name]) => name !== "date" && name !== "x-request-id");
  return { status, headers: Object.fromEntries(stable), body };
}

describe("a response", () => {
  it.for<[string, string]>([
    ["an entry", request("GET", `${KEYS}/k`)],
    ["a value", request("GET", `${KEYS}/k?raw=true`)],
    ["a long value", request("GET", `${KEYS}/long?raw=true`)],
    ["a missing key", request("GET", `${KEYS}/nobody`)],
    ["a key of two tokens with non-ASCII letters", request("GET", `${KEYS}/a/b%C3%A9`)],
    ["keys", request("GET", `${KEYS}?filter=*`)],
    ["a bucket that exists", request("POST", BUCKETS, {}, '{"name":"b"}')],
    ["a malformed body", request("POST", BUCKETS, {}, "{")],
    ["an entry that the client has cached", request("GET", `${KEYS}/k`, { "If-None-Match": '"1"' })],
    ["a conflict", request("PUT", `${KEYS}/k`, { "If-Match": "999" }, "v")],
    ["a deletion", request("DELETE", `${KEYS}/nobody`)],
    ["a method that is not allowed", request("POST", `${KEYS}/k`, {}, "v")],
    ["no route", request("GET", "/api/v1/nobody")],
    ["an entry over Connect", rpc("Get", '{"bucket":"b","key":"k"}')],
    ["an error over Connect", rpc("Get", '{"bucket":"b","key":"nobody"}')],
    ["a malformed message over Connect", rpc("Get", "{")],
    ["an entry over gRPC-Web", rpc("Get", GRPC_WEB_GET, { "Content-Type": "application/grpc-web+proto" })],
    [
      "an entry by a GET of Connect",
      request(
        "GET",
        `${SERVICE}/Get?encoding=json&message=%7B%22bucket%22%3A%22b%22%2C%22key%22%3A%22k%22%7D`,
      ),
    ],
    ["a watch over Connect that fails", rpc("Watch", "", { "Content-Type": "application/connect+json" })],
  ])("for %s is the same with and without Node's server", async ([, text], { service }) => {
    const [past, node] = [await RawClient.open(service.port), await RawClient.open(service.port)];
    past.socket.write(text);
    // This header makes the request not simple, and changes nothing else.
    node.socket.write(text.replace("Host: x", "Host: x\r\nTE: trailers"));
    expect(comparable(await past.answer())).toEqual(comparable(await node.answer()));
    past.socket.destroy();
    node.socket.destroy();
  });
});

describe("a connection", () => {
  it("answers each request once and in order, plain or not, however its bytes are split", async ({
    service,
  }) => {
    const requests = fc.array(
      fc.record({ number: fc.nat(9), isPlain: fc.boolean(), isPut: fc.boolean(), length: fc.nat(2_000) }),
      { minLength: 1, maxLength: 8 },
    );
    const cuts = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(requests, cuts, fc.boolean(), async (all, lengths, isPatient) => {
        const client = await RawClient.open(service.port);
        const texts = all.map(({ number, isPlain, isPut, length }) =>
          request(
            isPut ? "PUT" : "GET",
            `${KEYS}/${isPut ? `p${number}` : `absent${number}`}`,
            isPlain ? {} : { TE: "trailers" },
            isPut ? "x".repeat(length + 1) : "",
          ),
        );
        const read = async (index: number): Promise<void> => {
          const { status, body } = await client.answer();
          expect(status).toBe(all[index]?.isPut === true ? 200 : 404);
          if (status === 404) expect(body).toContain(`absent${all[index]?.number}`);
        };
        if (isPatient) {
          for (const [index, text] of texts.entries()) {
            client.socket.write(text);
            await read(index);
          }
        } else {
          const bytes = texts.join("");
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const length = lengths[turn % lengths.length] ?? 1;
            client.socket.write(bytes.slice(at, at + length));
            await new Promise((resolve) => setImmediate(resolve));
            at += length;
          }
          for (const index of texts.keys()) await read(index);
        }
        client.socket.destroy();
      }),
      { numRuns: 60 },
    );
  });

  it("answers pipelined requests in order", async ({ service }) => {
    const client = await RawClient.open(service.port);
    for (let index = 0; index < 20; index++) {
      client.socket.write(request("GET", `${KEYS}/absent${index}`));
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (let index = 0; index < 20; index++)
      expect((await client.answer()).body).toContain(`absent${index}\\"`);
    client.socket.destroy();
  });

  it("generates no more responses than fit while the client does not read", async ({ service }) => {
    const client = await RawClient.open(service.port);
    client.socket.pause();
    const long = request("GET", `${KEYS}/long?raw=true`);
    for (let index = 0; index < 200; index++) {
      client.socket.write(long);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await fetch(`${service.url}${KEYS}/k`)).status).toBe(200);
    client.socket.resume();
    for (let index = 0; index < 200; index++) expect((await client.answer()).body).toHaveLength(300_000);
    client.socket.destroy();
  });

  it("is closed when it has been idle for IDLE_TIMEOUT_MS", async ({ service }) => {
    const client = await RawClient.open(service.port);
    client.socket.write(GET);
    expect((await client.answer()).headers["keep-alive"]).toBe("timeout=1");
    await once(client.socket, "close");
  });

  it("is not idle while a response is being sent, however slow the client", async () => {
    const body = "x".repeat(30_000_000);
    const listener = await listen({
      host: "127.0.0.1",
      port: 0,
      limits: { ...DEFAULT_LIMITS, idleTimeoutMs: 500 },
      tls: undefined,
      handler: {
        handleSimple(exchange) {
          exchange.respond(200, {}, exchange.target === "/long" ? body : "ok");
          return true;
        },
        handle: () => expect.unreachable(),
        handleUpgrade: () => expect.unreachable(),
      },
    });
    const agent = new Agent({ keepAlive: true });
    const [slow] = (await once(httpRequest(`${listener.url}/long`, { agent }).end(), "response")) as [
      IncomingMessage,
    ];
    // Two idle connections, one after the other, show that the idle timeout has passed.
    for (let times = 0; times < 2; times++) {
      const idle = await RawClient.open(listener.port);
      idle.socket.write(GET);
      await idle.answer();
      await once(idle.socket, "close");
    }
    let length = 0;
    for await (const chunk of slow) length += (chunk as Buffer).length;
    expect(length).toBe(body.length);
    agent.destroy();
    await listener.drain(0);
  });

  it("is closed when the client sends Connection: close", async ({ service }) => {
    const client = await RawClient.open(service.port);
    client.socket.write(GET);
    await client.answer();
    client.socket.write(request("GET", `${KEYS}/k`, { Connection: "close" }));
    expect((await client.answer()).headers.connection).toBe("close");
    await once(client.socket, "close");
  });

  it("can upgrade to a WebSocket after plain requests", async ({ service }) => {
    const client = await RawClient.open(service.port);
    client.socket.write(GET);
    await client.answer();
    client.socket.write(
      request("GET", `${BUCKETS}/b/watch`, {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      }),
    );
    expect((await client.answer()).status).toBe(101);
    client.socket.destroy();
  });

  it.for(["watch", "watc%68", "%77atch"])(
    "can become an SSE watch after plain requests, by the path %s",
    async (name, { service }) => {
      const client = await RawClient.open(service.port);
      client.socket.write(GET);
      await client.answer();
      client.socket.write(request("GET", `${BUCKETS}/b/${name}`, { Accept: "text/event-stream" }));
      const { status, headers } = await client.answer();
      expect([status, headers["content-type"]]).toEqual([200, "text/event-stream"]);
      client.socket.destroy();
    },
  );

  it("that is lost during a call does not affect others", async ({ service }) => {
    for (let index = 0; index < 50; index++) {
      const client = await RawClient.open(service.port);
      client.socket.write(request("PUT", `${KEYS}/gone`, {}, "v"));
      client.socket.destroy();
    }
    expect((await fetch(`${service.url}${KEYS}/k`)).status).toBe(200);
  });
});

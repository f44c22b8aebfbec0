/** The one port, with unusual and malformed connections and requests. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";

const it = serviceTest({ "peek-timeout-ms": "300", "headers-timeout-ms": "500" })
  .extend("bucket", { scope: "file" }, freshName())
  /** Sends raw bytes and reads all that comes until the server closes. */
  .extend("exchange", ({ service }) => async (...parts: (string | Buffer)[]): Promise<string> => {
    const socket = connect(service.port, "127.0.0.1");
    socket.on("error", () => undefined);
    const answer = readAll(socket);
    for (const part of parts) {
      socket.write(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return answer;
  })
  .extend(
    "http2Get",
    ({ service }) =>
      async (path: string, headers: Record<string, string> = {}): Promise<number> => {
        const session = connectHttp2(service.url);
        try {
          const stream = session.request({ ":path": path, ...headers });
          const [response] = (await once(stream, "response")) as [Record<string, unknown>];
          stream.resume();
          return Number(response[":status"]);
        } finally {
          session.close();
        }
      },
  )
  .extend("expectAlive", ({ service, bucket, http2Get }) => async (): Promise<void> => {
    expect((await fetch(`${service.url}/api/v1/kv/buckets/${bucket}`)).status).toBe(200);
    expect(await http2Get(`/api/v1/kv/buckets/${bucket}`)).toBe(200);
  });
it.beforeAll(async ({ service, bucket }) => {
  await fetch(`${service.url}/api/v1/kv/buckets`, { method: "POST", body: JSON.stringify({ name: bucket }) });
});

const GET_PATH = "/ironflow.kv.v1.KeyValueService/Get";

async function readAll(socket: Socket): Promise<string> {
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
  await once(socket, "close");
  return answer;
}

describe("one port", () => {
  it("accepts HTTP/1.1 and HTTP/2 in turn", async ({ expectAlive }) => {
    for (let round = 0; round < 5; round++) await expectAlive();
  });

  it("detects the protocol even if the first bytes arrive one by one", async ({ exchange }) => {
    const request = `GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    expect(await exchange(...Array.from(request.slice(0, 6)), request.slice(6))).toContain("200 OK");
    expect(
      await exchange("P", "RI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Buffer.from([0, 0, 0, 9, 0, 0, 0, 0, 0])),
    ).not.toContain("HTTP/1.1");
  });

  it("closes a connection that sends nothing, or never ends its headers", async ({
    exchange,
    expectAlive,
  }) => {
    expect(await exchange("")).toBe("");
    expect(await exchange("PR")).toBe("");
    expect(await exchange("GET / HTTP/1.1\r\nHost: x\r\n")).toMatch(/^(HTTP\/1\.1 408|$)/);
    await expectAlive();
  });

  it.for(["[", "a b", "a:b:c", "", "x\\y", "a/b?c", "%"])(
    "answers the Host %j with a client error, on every kind of path",
    async (host, { exchange, expectAlive }) => {
      for (const path of [GET_PATH, "/api/v1/kv/buckets", "/", "//", "http://[/"]) {
        const answer = await exchange(
          `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
        );
        expect(answer).toMatch(/^HTTP\/1\.1 4\d\d/);
      }
      await expectAlive();
    },
  );

  it.for(["[", "a b"])("survives the HTTP/2 authority %j", async (authority, { service, expectAlive }) => {
    const session = connectHttp2(service.url);
    session.on("error", () => undefined);
    const stream = session.request({
      ":method": "POST",
      ":path": GET_PATH,
      ":authority": authority,
      "content-type": "application/grpc+unknown",
    });
    stream.on("error", () => undefined);
    stream.end();
    stream.resume();
    await new Promise((resolve) => stream.on("close", resolve));
    session.destroy();
    await expectAlive();
  });

  it.for([
    [
      "both lengths",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"],
    ["a header with a bare line feed", "GET / HTTP/1.1\nHost: x\n bad\n\n"],
    ["40 KB of headers", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(40_000)}\r\n\r\n`],
    ["no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ] as const)("refuses %s", async ([, request], { exchange, expectAlive }) => {
    expect(await exchange(request)).toMatch(/^(HTTP\/1\.1 4\d\d|$)/);
    await expectAlive();
  });

  it("answers an unknown path with 404", async ({ service, http2Get }) => {
    expect((await fetch(`${service.url}/nobody`)).status).toBe(404);
    expect(await http2Get("/nobody")).toBe(404);
  });

  it("reports that it is alive and ready", async ({ service }) => {
    for (const path of ["/healthz", "/readyz"]) expect((await fetch(service.url + path)).status).toBe(200);
  });
});

/** HTTP/1.1 as no client library writes it: shapes that two servers may read differently (request smuggling), and connections that stand still. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";

const BUCKETS = "/api/v1/kv/buckets";

const it = serviceTest({
  "headers-timeout-ms": "500",
  "request-timeout-ms": "800",
  "answer-timeout-ms": "800",
  "peek-timeout-ms": "500",
  "idle-timeout-ms": "60000",
})
  .extend("open", ({ service }) => (): Socket => {
    const socket = connect(service.port, "127.0.0.1");
    socket.on("error", () => undefined);
    return socket;
  })
  /** Writes bytes and gives all that comes back until the server closes the connection. */
  .extend("exchange", ({ open }) => async (bytes: string): Promise<string> => {
    const socket = open();
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    socket.write(Buffer.from(bytes, "latin1"));
    await closed(socket);
    return answer;
  })
  .extend("expectAlive", ({ service }) => async (): Promise<void> => {
    expect((await fetch(`${service.url}${BUCKETS}/b`)).status).toBe(200);
  })
  .extend("expectNothingSmuggled", ({ service }) => async (): Promise<void> => {
    expect((await fetch(`${service.url}${BUCKETS}/b/keys/smuggled`)).status).toBe(404);
  });
it.beforeAll(async ({ service }) => {
  await fetch(service.url + BUCKETS, { method: "POST", body: '{"name":"b"}' });
});

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

/** What a smuggled request would do. */
const SMUGGLED = `PUT ${BUCKETS}/b/keys/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx`;

const post = (headers: string, body: string): string =>
  `POST ${BUCKETS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${headers}\r\n\r\n${body}`;

describe("a request that two servers may read differently", () => {
  it.for([
    [
      "a length and chunks (CL.TE)",
      post("Content-Length: 4\r\nTransfer-Encoding: chunked", `0\r\n\r\n${SMUGGLED}`),
    ],
    [
      "chunks and a length (TE.CL)",
      post("Transfer-Encoding: chunked\r\nContent-Length: 4", `0\r\n\r\n${SMUGGLED}`),
    ],
    ["two lengths", post("Content-Length: 2\r\nContent-Length: 3", `{}${SMUGGLED}`)],
    ["a list of lengths", post("Content-Length: 2, 3", `{}${SMUGGLED}`)],
    ["a negative length", post("Content-Length: -1", SMUGGLED)],
    ["a length with a sign", post("Content-Length: +2", `{}${SMUGGLED}`)],
    ["a length in hexadecimal", post("Content-Length: 0x2", `{}${SMUGGLED}`)],
    ["a length beyond 64 bits", post("Content-Length: 18446744073709551618", `{}${SMUGGLED}`)],
    ["a coding that is not the last", post("Transfer-Encoding: chunked, identity", `0\r\n\r\n${SMUGGLED}`)],
    ["a coding of no known name", post("Transfer-Encoding: xchunked", `0\r\n\r\n${SMUGGLED}`)],
    [
      "two codings",
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", `0\r\n\r\n${SMUGGLED}`),
    ],
    ["a coding after a vertical tab", post("Transfer-Encoding:\x0bchunked", `0\r\n\r\n${SMUGGLED}`)],
    ["a space before the colon", post("Transfer-Encoding : chunked", `0\r\n\r\n${SMUGGLED}`)],
    [
      "a header over two lines",
      post("X: a\r\n b\r\nTransfer-Encoding: chunked\r\n ,identity", `0\r\n\r\n${SMUGGLED}`),
    ],
    ["a header without a name", post(": x", SMUGGLED)],
    ["a NUL in a header", post("X: a\0b", SMUGGLED)],
    ["a bare line feed between headers", `GET /healthz HTTP/1.1\nHost: x\n\n${SMUGGLED}`],
    ["a bare carriage return in a header", post("X: a\rTransfer-Encoding: chunked", `0\r\n\r\n${SMUGGLED}`)],
    [
      "a chunk size of 2^64",
      post("Transfer-Encoding: chunked", `10000000000000000\r\n{}\r\n0\r\n\r\n${SMUGGLED}`),
    ],
    [
      "a chunk size that is no number",
      post("Transfer-Encoding: chunked", `zz\r\n{}\r\n0\r\n\r\n${SMUGGLED}`),
    ],
    ["a negative chunk size", post("Transfer-Encoding: chunked", `-1\r\n{}\r\n0\r\n\r\n${SMUGGLED}`)],
    [
      "a chunk that ends in a bare line feed",
      post("Transfer-Encoding: chunked", `2\r\n{}\n0\r\n\r\n${SMUGGLED}`),
    ],
    ["a chunk longer than it says", post("Transfer-Encoding: chunked", `1\r\n{}\r\n0\r\n\r\n${SMUGGLED}`)],
    [
      "17 KB of chunk extensions",
      post("Transfer-Encoding: chunked", `2;${"x".repeat(17_000)}\r\n{}\r\n0\r\n\r\n`),
    ],
    ["another version", `GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n${SMUGGLED}`],
    ["no version", `GET /healthz\r\n\r\n${SMUGGLED}`],
    ["two hosts", `GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n${SMUGGLED}`],
    ["no host", `GET /healthz HTTP/1.1\r\n\r\n${SMUGGLED}`],
    ["a target with a space", `GET /health z HTTP/1.1\r\nHost: x\r\n\r\n${SMUGGLED}`],
  ] as const)(
    "is refused with %s, and ends its connection",
    async ([, bytes], { exchange, expectNothingSmuggled, expectAlive }) => {
      expect(await exchange(bytes)).toMatch(/^(HTTP\/1\.1 4\d\d [^]*)?$/);
      await expectNothingSmuggled();
      await expectAlive();
    },
  );

  it("is read by its length, whatever the body looks like", async ({
    exchange,
    service,
    expectNothingSmuggled,
  }) => {
    const last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const put = `PUT ${BUCKETS}/b/keys/plain HTTP/1.1\r\nHost: x\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`;
    expect((await exchange(put + last)).match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    expect(await (await fetch(`${service.url}${BUCKETS}/b/keys/plain?raw=true`)).text()).toBe(SMUGGLED);
    await expectNothingSmuggled();
  });

  it("is read by its chunks, their extensions and trailers left out", async ({ exchange, service }) => {
    const chunks = "2;a=b\r\n12\r\n3\r\n345\r\n0\r\nX-Trailer: y\r\n\r\n";
    const put = `PUT ${BUCKETS}/b/keys/chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}`;
    expect(await exchange(put)).toMatch(/^HTTP\/1\.1 200/);
    expect(await (await fetch(`${service.url}${BUCKETS}/b/keys/chunks?raw=true`)).text()).toBe("12345");
  });
});

describe("a connection that stands still", () => {
  it.for([
    ["says nothing", ""],
    ["stops in the request line", "GET /heal"],
    ["stops in its headers", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "],
    ["stops in its body", post("Content-Length: 100", '{"name"')],
    ["stops in a chunk", post("Transfer-Encoding: chunked", "10\r\n{")],
    ["waits to be told to go on, and then does not", post("Content-Length: 100\r\nExpect: 100-continue", "")],
  ] as const)("is closed when it %s", async ([, bytes], { exchange, expectAlive }) => {
    const answer = await exchange(bytes);
    expect(answer).toMatch(/^(HTTP\/1\.1 100 Continue\r\n\r\n)?(HTTP\/1\.1 408 [^]*)?$/);
    await expectAlive();
  });

  it("is closed when it sends a part of the preface of HTTP/2", async ({ exchange }) => {
    expect(await exchange("PR")).toBe("");
    expect(await exchange("PRI * HT")).not.toContain("HTTP/1.1");
  });

  it("is closed when it sends too slowly", async ({ open }) => {
    const socket = open();
    socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n");
    const drip = setInterval(() => socket.write("X: y\r\n"), 50);
    socket.resume();
    await closed(socket);
    clearInterval(drip);
  });

  it("is closed when it takes no answers, and as many requests as it sends are not read", async ({
    service,
    open,
    expectAlive,
  }) => {
    const body = Buffer.alloc(1_000_000, "x");
    await fetch(`${service.url}${BUCKETS}/b/keys/big`, { method: "PUT", body });
    const socket = open();
    socket.pause();
    for (let count = 0; count < 200; count++) {
      socket.write(`GET ${BUCKETS}/b/keys/big?raw=true HTTP/1.1\r\nHost: x\r\n\r\n`);
    }
    await once(socket, "connect");
    // Its end shows in what it may still write.
    const probe = setInterval(() => socket.write("\r\n"), 50);
    await closed(socket);
    clearInterval(probe);
    expect(socket.bytesRead).toBeLessThan(20 * body.length);
    await expectAlive();
  });
});

describe("a crowd", () => {
  it("of 300 connections that say nothing does not keep others out", async ({ open, expectAlive }) => {
    const crowd = Array.from({ length: 300 }, open);
    await expectAlive();
    await Promise.all(crowd.map(closed));
  });
});

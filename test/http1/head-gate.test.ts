/** Requests reach Node's HTTP/1.1 parser one section at a time: where they begin and end must not depend on how their bytes arrive. */
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { type Listener, listen } from "../../src/listener/listener.js";

const HEADER_BYTES_MAX = 512;
let listener: Listener;
let seen: string[] = [];

beforeAll(async () => {
  listener = await listen({
    host: "127.0.0.1",
    port: 0,
    limits: { ...DEFAULT_LIMITS, headerBytesMax: HEADER_BYTES_MAX },
    tls: undefined,
    handler: {
      handle(exchange) {
        let body = "";
        const respond = (): void => {
          seen.push(`${exchange.method} ${exchange.target} ${body}`);
          exchange.respond(200, {}, "ok");
        };
        exchange.read({ receive: (chunk) => void (body += chunk.toString()), received: respond });
      },
      handleUpgrade: ({ socket, head }) => {
        seen.push(`upgrade ${head.toString()}`);
        socket.destroy();
      },
    },
  });
});
afterAll(() => listener.drain(0));

const HOST = "Host: localhost\r\n";
const STREAM = [
  `PUT /length HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`,
  `\r\n\r\nGET /line-ends-before HTTP/1.1\r\n${HOST}\r\n`,
  `PUT /chunks HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n7;a=b\r\n\r\n0\r\n\r\n\r\n0A\r\n0123456789\r\n000\r\n\r\n`,
  `PUT /trailers HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n`,
  `GET /expects HTTP/1.1\r\n${HOST}Expect: a-miracle\r\nContent-Length: 3\r\n\r\nabc`,
  `GET /last HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
].join("");
const REQUESTS = [
  "PUT /length hello",
  "GET /line-ends-before ",
  "PUT /chunks \r\n0\r\n\r\n0123456789",
  "PUT /trailers x",
  "GET /last ",
];

/** Sends each piece once the service has read what precedes it; resolves with what came back. */
async function exchange(pieces: readonly string[]): Promise<string> {
  const socket = connect({ port: listener.port, host: "127.0.0.1", noDelay: true });
  let received = "";
  socket.on("data", (chunk) => void (received += chunk.toString()));
  socket.on("error", () => undefined);
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await once(socket, "close");
  return received;
}

it("reads the same requests wherever their bytes are split", async () => {
  for (let at = 1; at < STREAM.length; at++) {
    seen = [];
    const answers = await exchange([STREAM.slice(0, at), STREAM.slice(at)]);
    expect(seen, `split at ${at}`).toEqual(REQUESTS);
    expect(answers.match(/HTTP\/1\.1 \d+/g), `split at ${at}`).toEqual(
      [200, 200, 200, 200, 417, 200].map((status) => `HTTP/1.1 ${status}`),
    );
  }
});

it("reads the same requests byte by byte", async () => {
  seen = [];
  await exchange(Array.from(STREAM));
  expect(seen).toEqual(REQUESTS);
});

it("hands over what follows an upgrade, once", async () => {
  const head = `GET / HTTP/1.1\r\n${HOST}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`;
  seen = [];
  await exchange([`${head}first words`]);
  expect(seen).toEqual(["upgrade first words"]);
});

it.each([
  ["a request", `GET / HTTP/1.1\r\n${HOST}`],
  ["trailers", `PUT / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n`],
])("ends a connection whose header of %s is too long, without an end or with one", async (_name, start) => {
  const long = `${start}A: ${"x".repeat(HEADER_BYTES_MAX)}`;
  for (const text of [long, `${long}\r\n\r\n`]) {
    seen = [];
    expect(await exchange([text])).toMatch(/^(HTTP\/1\.1 431 |$)/);
    expect(seen).toEqual([]);
  }
});

it.each(["\x16\x03\x01", "get / HTTP/1.1\r\n", "GET / HTTP/1.1\nHost"])(
  "refuses %j at once, although its head is not complete",
  async (text) => expect(await exchange([text])).toMatch(/^HTTP\/1\.1 400 /),
);

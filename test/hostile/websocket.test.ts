/** A WebSocket that sends instead of listening, or breaks the protocol of its frames (RFC 6455). */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";

const BUCKETS = "/api/v1/kv/buckets";

const it = serviceTest({
  "ping-interval-ms": "1000",
  "web-socket-messages-max": "50",
  "web-socket-message-bytes-max": "1000",
})
  .extend("open", ({ service }) => async (): Promise<Socket> => {
    const socket = connect(service.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(
      `GET ${BUCKETS}/b/watch HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString("latin1")).toMatch(/^HTTP\/1\.1 101/);
    return socket;
  })
  .extend("expectAlive", ({ service, open }) => async (): Promise<void> => {
    expect((await fetch(`${service.url}${BUCKETS}/b`)).status).toBe(200);
    (await open()).destroy();
  });
it.beforeAll(async ({ service }) => {
  await fetch(service.url + BUCKETS, { method: "POST", body: '{"name":"b"}' });
});

const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
const FIN = 0x80;

/** A frame as a client must send it: masked, here with zeros. */
function frame(opcode: number, payload: Uint8Array = Buffer.alloc(0), flags = FIN): Buffer {
  const length = payload.length;
  const head =
    length < 126
      ? Buffer.from([flags | opcode, 0x80 | length, 0, 0, 0, 0])
      : Buffer.from([flags | opcode, 0x80 | 126, length >> 8, length & 0xff, 0, 0, 0, 0]);
  return Buffer.concat([head, payload]);
}

/** The code of the close frame that comes; undefined where the connection ends without one. */
async function closeCode(socket: Socket): Promise<number | undefined> {
  let bytes = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
  await new Promise((resolve) => socket.on("close", resolve));
  for (let at = 0; at + 2 <= bytes.length;) {
    const length = bytes.readUInt8(at + 1);
    if ((bytes.readUInt8(at) & 0x0f) === Opcode.CLOSE)
      return length < 2 ? undefined : bytes.readUInt16BE(at + 2);
    at += 2 + length;
  }
  return undefined;
}

describe("a WebSocket that sends", () => {
  it.for([
    ["messages", frame(Opcode.TEXT, Buffer.from("hello"))],
    ["empty messages", frame(Opcode.BINARY)],
    ["pings", frame(Opcode.PING)],
  ] as const)("many %s is closed for it", async ([, bytes], { open, expectAlive }) => {
    const socket = await open();
    const closing = closeCode(socket);
    for (let count = 0; count < 60; count++) socket.write(bytes);
    expect(await closing).toBe(1008);
    await expectAlive();
  });

  it("a frame byte by byte is closed with the code 1008", async ({ open, service, expectAlive }) => {
    const socket = await open();
    socket.setNoDelay(true);
    const closing = closeCode(socket);
    for (const byte of frame(Opcode.TEXT, Buffer.alloc(1_000)).subarray(0, 900)) {
      if (!socket.writable) break;
      socket.write(Buffer.from([byte]));
      // Most bytes are read alone; a busy service reads some together.
      await fetch(`${service.url}/healthz`);
    }
    expect(await closing).toBe(1008);
    await expectAlive();
  });

  it("a few messages is left alone", async ({ open }) => {
    const socket = await open();
    for (let count = 0; count < 20; count++) socket.write(frame(Opcode.TEXT, Buffer.from("hello")));
    socket.write(frame(Opcode.PING, Buffer.from("still there?")));
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString("latin1")).toContain("still there?");
    socket.destroy();
  });

  it.for<[string, number, Buffer]>([
    ["a message that is too large", 1009, frame(Opcode.TEXT, Buffer.alloc(1_001))],
    [
      "a message that is too large in pieces",
      1009,
      Buffer.concat([
        frame(Opcode.TEXT, Buffer.alloc(600), 0),
        frame(Opcode.CONTINUATION, Buffer.alloc(600)),
      ]),
    ],
    [
      "a message in too many pieces",
      1008,
      Buffer.concat([
        frame(Opcode.TEXT, Buffer.alloc(1), 0),
        ...Array.from({ length: 16 }, () => frame(Opcode.CONTINUATION, Buffer.alloc(0), 0)),
      ]),
    ],
    ["a length of 2^63", 1009, Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    ["a frame without a mask", 1002, Buffer.from([0x81, 0x01, 0x61])],
    ["a frame of no known kind", 1002, frame(3)],
    ["reserved bits", 1002, frame(Opcode.TEXT, Buffer.alloc(1), FIN | 0x70)],
    ["a compressed message that nobody agreed on", 1002, frame(Opcode.TEXT, Buffer.alloc(1), FIN | 0x40)],
    ["a ping in pieces", 1002, frame(Opcode.PING, Buffer.alloc(1), 0)],
    ["a ping that is too large", 1002, frame(Opcode.PING, Buffer.alloc(126))],
    ["the end of a message that never began", 1002, frame(Opcode.CONTINUATION)],
    ["text that is no UTF-8", 1007, frame(Opcode.TEXT, Buffer.from([0xc0, 0xaf]))],
    ["a close with half a code", 1002, frame(Opcode.CLOSE, Buffer.alloc(1))],
    ["a close with a code that there is not", 1002, frame(Opcode.CLOSE, Buffer.from([0, 1]))],
  ])("%s is closed with the code %i", async ([, code, bytes], { open, expectAlive }) => {
    const socket = await open();
    const closing = closeCode(socket);
    socket.write(bytes);
    expect(await closing).toBe(code);
    await expectAlive();
  });

  it("without end is cut, although it never closes its side", async ({ open, expectAlive }) => {
    const socket = await open();
    const noise = Buffer.concat(Array.from({ length: 1_000 }, () => frame(Opcode.TEXT, Buffer.from("x"))));
    socket.resume();
    while (!socket.closed) {
      if (!socket.write(noise)) await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expectAlive();
  });

  it("nothing, not even an answer to a ping, is cut", async ({ open }) => {
    const socket = await open();
    socket.resume();
    await new Promise((resolve) => socket.on("close", resolve));
  });
});

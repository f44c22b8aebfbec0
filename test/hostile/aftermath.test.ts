/**
 * After each attack: the service answers a normal call as before, and its memory returns. Prints the figures; EXTENDED=1 makes the
 * attacks fifty times as large.
 */
import { connect, type Socket } from "node:net";
import { request } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { send1, send2 } from "../support/http-client.js";
import {
  CANCEL,
  END_HEADERS,
  Frame,
  frame,
  headerBlock,
  PREFACE,
  RawSession,
  uint32,
} from "../../packages/http2/test/raw-session.js";
import { startTarget, type Target } from "./target.js";
import { IS_EXTENDED } from "../support/extended.js";

const SCALE = IS_EXTENDED ? 10 : 0.2;
const MEGABYTE = 1_048_576;
/** What a heap without garbage may differ by from one time to the next. */
const MEMORY_SLACK_BYTES = 8 * MEGABYTE;
const BUCKET = "/api/v1/kv/buckets/b";
const BIG = `${BUCKET}/keys/big`;
const SMALL = `${BUCKET}/keys/small`;
const PUT = "/ironflow.kv.v1.KeyValueService/Put";
const CALLS = 50;

let target: Target;
beforeAll(async () => {
  target = await startTarget({
    "request-timeout-ms": "800",
    "answer-timeout-ms": "800",
    "headers-timeout-ms": "800",
    "peek-timeout-ms": "800",
    "idle-timeout-ms": "1000",
    "ping-interval-ms": "1000",
    "web-socket-messages-max": "50",
  });
  await send1(target.url, "POST", "/api/v1/kv/buckets", { body: '{"name":"b"}' });
  await send1(target.url, "PUT", BIG, { body: Buffer.alloc(900_000, "x") });
  await send1(target.url, "PUT", SMALL, { body: "small" });
  // What is made once only is no growth.
  for (const [, attack] of ATTACKS) await attack();
}, 240_000);
afterAll(() => target.remove());

/** More at once than this, and the system itself leaves some out before the service sees them (its queue of connections to accept). */
const WAVE = 100;

/** So many connections at once, each of which sends this and then waits; resolves when the service has closed them all. */
async function crowd(
  size: number,
  bytes: string | Buffer,
  prepare?: (socket: Socket) => void,
): Promise<void> {
  const closed: Promise<void>[] = [];
  for (let wave = 0; wave < size; wave += WAVE) {
    const opened = Array.from({ length: Math.min(WAVE, size - wave) }, () => {
      const socket = connect(target.port, "127.0.0.1");
      socket.on("error", () => undefined);
      closed.push(new Promise((resolve) => socket.on("close", () => resolve())));
      if (prepare === undefined) socket.resume();
      socket.write(bytes);
      prepare?.(socket);
      return new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
    });
    await Promise.all(opened);
  }
  await Promise.all(closed);
}

const UPGRADE =
  `GET ${BUCKET}/watch HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
/** An empty text message, masked with zeros (RFC 6455 section 5.2). */
const MESSAGE = Buffer.from([0x81, 0x80, 0, 0, 0, 0]);
const BOMB = gzipSync(Buffer.alloc(32 * MEGABYTE));
const BOMB_HEAD = Buffer.from([1, ...uint32(BOMB.length)]);

const ATTACKS: readonly [name: string, attack: () => Promise<unknown>][] = [
  [
    `${10_000 * SCALE} streams opened and reset on one connection after the other`,
    async () => {
      const head = headerBlock({
        ...{ ":method": "POST", ":scheme": "http", ":authority": "x", ":path": PUT },
        "content-type": "application/grpc",
      });
      for (let left = 10_000 * SCALE; left > 0;) {
        const session = await RawSession.open(target.port);
        for (let id = 1; left > 0 && !session.isClosed; id += 2, left--) {
          const reset = frame(Frame.RST_STREAM, 0, id, uint32(CANCEL));
          if (!session.write(frame(Frame.HEADERS, END_HEADERS, id, head), reset))
            await session.drained().catch(() => undefined);
          else if (id % 400 === 1) await new Promise((resolve) => setImmediate(resolve));
        }
        if (!session.isClosed) session.socket.destroy();
      }
    },
  ],
  [
    `${200 * SCALE} senders that stop in the middle of a body of 1 MB`,
    () =>
      crowd(
        200 * SCALE,
        `PUT ${SMALL} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(60_000)}`,
      ),
  ],
  [
    `${100 * SCALE} readers that take nothing of ten answers of 900 KB`,
    () =>
      crowd(100 * SCALE, `GET ${BIG} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(10), (socket) => {
        socket.pause();
        // It does not see the end while it does not read.
        setTimeout(() => socket.destroy(), 1_500);
      }),
  ],
  [`${200 * SCALE} connections that say nothing`, () => crowd(200 * SCALE, "")],
  [
    `${200 * SCALE} that send half of the preface of HTTP/2`,
    () => crowd(200 * SCALE, PREFACE.subarray(0, 12)),
  ],
  [
    `${200 * SCALE} that send half of a head`,
    () => crowd(200 * SCALE, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "),
  ],
  [
    `${50 * SCALE} WebSockets that send 1,000 messages`,
    () =>
      crowd(
        50 * SCALE,
        UPGRADE,
        (socket) =>
          void socket.resume().once("data", () => {
            for (let count = 0; count < 1_000; count++) socket.write(MESSAGE);
          }),
      ),
  ],
  [
    `${20 * Math.max(1, SCALE)} bombs of 32 MiB`,
    async () => {
      for (let round = 0; round < Math.max(1, SCALE); round++) {
        const headers = { te: "trailers", "content-type": "application/grpc", "grpc-encoding": "gzip" };
        const body = Buffer.concat([BOMB_HEAD, BOMB]);
        await Promise.all(
          Array.from({ length: 20 }, () =>
            send2(target.url, "POST", PUT, { headers, body }).catch(() => undefined),
          ),
        );
      }
    },
  ],
  [
    `${500 * SCALE} keys of 10 KB, and what else a path may hide`,
    async () => {
      const names = ["x".repeat(10_240), "..", "%2F..%2F", "%00", "*", ">", "a%0D%0Ab", "%ff"];
      for (let count = 0; count < 500 * SCALE; count++)
        await send1(target.url, "GET", `${BUCKET}/keys/${names[count % names.length]}`).catch(
          () => undefined,
        );
    },
  ],
];

/** The median time of a call, in milliseconds. */
async function callMs(): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < CALLS; count++) {
    const beganMs = performance.now();
    await new Promise<void>((resolve, reject) => {
      request(target.url + SMALL, { agent: false }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
        response.resume().on("end", resolve);
      })
        .on("error", reject)
        .end();
    });
    times.push(performance.now() - beganMs);
  }
  return times.sort((left, right) => left - right)[CALLS / 2] ?? 0;
}

async function heldBytes(): Promise<number> {
  const { heapUsed, external } = await target.memory();
  return heapUsed + external;
}

it.each(ATTACKS)(
  "%s: the service lives, answers, and its memory returns",
  async (name, attack) => {
    const [beforeMs, before] = [await callMs(), await heldBytes()];
    await attack();
    const afterMs = await callMs();
    await expect.poll(heldBytes, { interval: 200 }).toBeLessThan(before + MEMORY_SLACK_BYTES);
    const after = await heldBytes();
    const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(1);
    console.log(
      `attack | ${name} | a call before ${beforeMs.toFixed(2)} ms, after ${afterMs.toFixed(2)} ms | memory before ${megabytes(before)} MiB, after ${megabytes(after)} MiB`,
    );
    expect(target.ending).toBeUndefined();
    expect(target.errors).toEqual([]);
  },
  180_000,
);

/** The peak of the resident memory while clients do not read what they watch, and while WebSockets send messages that never end. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { platform } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { INITIAL_WINDOW_SIZE } from "../../packages/http2/test/frames.js";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  RawSession,
  setting,
} from "../../packages/http2/test/raw-session.js";
import { isExtendedFor } from "../support/extended.js";
import { send1 } from "../support/http-client.js";
import { MEBIBYTE, OVERHEAD_BYTES, PeakMeter, TOTAL_BYTES } from "./peaks.js";

const BUCKETS = "/api/v1/kv/buckets";
/** The values of a bucket together exceed the queue of a watch. */
const KEYS = 12;
const WATCHES = 60;
const CHANGED_BUCKETS = 10;
/** RECENT_CHANGES_BYTES_MAX. */
const RECENT_BYTES = 64 * MEBIBYTE;
/** WebSockets with a message that never ends. */
const FRAGMENTED = 150;
const FRAGMENTS = 40;

const isExtended = isExtendedFor("memory peaks of watches", "each attack takes seconds of CPU time");

describe.skipIf(platform() !== "linux" || !isExtended)("the peak of the resident memory", () => {
  let meter: PeakMeter;
  beforeAll(async () => {
    const total = String(TOTAL_BYTES);
    meter = await PeakMeter.start({
      "total-unsent-response-bytes-max": total,
      "total-watch-queue-bytes-max": total,
    });
    await send1(meter.url, "POST", BUCKETS, { body: '{"name":"b"}' });
    for (let index = 0; index < KEYS; index++)
      await send1(meter.url, "PUT", `${BUCKETS}/b/keys/k${index}`, { body: Buffer.alloc(MEBIBYTE, index) });
  });
  afterAll(() => meter.target.remove());

  async function upgrade(path: string): Promise<Socket> {
    const socket = connect(meter.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    await once(socket, "readable");
    return socket;
  }

  it("hardly rises for WebSocket messages in fragments that arrive beside much else", async () => {
    const pong = Buffer.concat([Buffer.from([0x8a, 0x80 | 125, 0, 0, 0, 0]), Buffer.alloc(125)]);
    const pongs = Buffer.concat(Array.from({ length: 499 }, () => pong));
    const attack = async (): Promise<void> => {
      const sockets: Socket[] = [];
      for (let index = 0; index < FRAGMENTED; index++)
        sockets.push(await upgrade(`${BUCKETS}/b/watch?start=now`));
      for (let round = 0; round < FRAGMENTS; round++) {
        const fragment = Buffer.from([round === 0 ? 1 : 0, 0x81, 0, 0, 0, 0, 65]);
        for (const socket of sockets) if (socket.writable) socket.write(Buffer.concat([pongs, fragment]));
        await send1(meter.url, "GET", "/healthz");
      }
      for (const socket of sockets) socket.destroy();
    };
    expect(await meter.of(attack, "WebSockets, fragments")).toBeLessThan(OVERHEAD_BYTES);
  }, 240_000);

  /** The next snapshot is as of another revision: watches do not share it. */
  const touch = (): Promise<unknown> => send1(meter.url, "PUT", `${BUCKETS}/b/keys/small`, { body: "x" });

  /** Resolves when no watch reads on: the bytes in their queues stay the same. */
  async function watchesStopped(): Promise<void> {
    for (let last = -1; ;) {
      const { text } = await send1(meter.url, "GET", "/metrics");
      const bytes = Number(/^ironflow_watch_queue_bytes (\d+)/m.exec(text)?.[1]);
      if (bytes === last) return;
      last = bytes;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  it("stays within the budgets for WebSockets that read nothing of their snapshots", async () => {
    const attack = async (): Promise<void> => {
      const sockets: Socket[] = [];
      for (let index = 0; index < WATCHES; index++) {
        sockets.push(await upgrade(`${BUCKETS}/b/watch`));
        await touch();
      }
      await watchesStopped();
      for (const socket of sockets) socket.destroy();
    };
    expect(await meter.of(attack, "WebSockets, unread snapshots")).toBeLessThan(
      OVERHEAD_BYTES + 2 * TOTAL_BYTES,
    );
  }, 240_000);

  it("stays within the budgets for gRPC watches whose snapshots may not be sent", async () => {
    const head = headerBlock({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "localhost",
      ":path": "/ironflow.kv.v1.KeyValueService/Watch",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const ofBucketB = Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x62]);
    const attack = async (): Promise<void> => {
      const session = await RawSession.open(meter.port, setting(INITIAL_WINDOW_SIZE, 0));
      for (let id = 1; id < 2 * WATCHES; id += 2) {
        session.write(
          frame(Frame.HEADERS, END_HEADERS, id, head),
          frame(Frame.DATA, END_STREAM, id, ofBucketB),
        );
        await session.until(({ type, streamId }) => type === Frame.HEADERS && streamId === id);
        await touch();
      }
      await watchesStopped();
      session.close();
    };
    expect(await meter.of(attack, "gRPC watches, window 0")).toBeLessThan(OVERHEAD_BYTES + 2 * TOTAL_BYTES);
  }, 240_000);

  it("stays within the budgets for changes of many buckets that slow watches do not read and fast ones do", async () => {
    const attack = async (): Promise<void> => {
      const sockets: Socket[] = [];
      for (let bucket = 0; bucket < CHANGED_BUCKETS; bucket++) {
        const path = `${BUCKETS}/changed-${bucket}`;
        await send1(meter.url, "POST", BUCKETS, { body: `{"name":"changed-${bucket}"}` });
        sockets.push(await upgrade(`${path}/watch?start=now`));
        const reading = await upgrade(`${path}/watch?start=now`);
        sockets.push(reading.resume());
        for (let index = 0; index < KEYS; index++)
          await send1(meter.url, "PUT", `${path}/keys/k`, { body: Buffer.alloc(MEBIBYTE, index) });
      }
      await watchesStopped();
      for (const socket of sockets) socket.destroy();
    };
    expect(await meter.of(attack, "WebSockets, unread changes")).toBeLessThan(
      OVERHEAD_BYTES + 2 * TOTAL_BYTES + RECENT_BYTES,
    );
  }, 240_000);
});

/** The peak of the resident memory while clients do not read what they watch, and while WebSockets send messages that never end. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { INITIAL_WINDOW_SIZE } from "../../packages/http2/test/frames.js";
import { END_HEADERS, END_STREAM, Frame, frame, setting } from "../../packages/http2/test/raw-session.js";
import { isExtendedFor } from "../support/extended.js";
import {
  BUCKETS,
  describePeaks,
  KEY_VALUE_SERVICE,
  MEBIBYTE,
  OVERHEAD_BYTES,
  PEAK_TIMEOUT_MS,
  PeakMeter,
  requestHead,
  TOTAL_BYTES,
} from "./peaks.js";

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

function suite(): void {
  let meter: PeakMeter;
  beforeAll(async () => {
    const total = String(TOTAL_BYTES);
    meter = await PeakMeter.start({
      "total-unsent-response-bytes-max": total,
      "total-watch-queue-bytes-max": total,
    });
    await meter.createBucket("b");
    await meter.putAll("b", KEYS, (index) => [`k${index}`, Buffer.alloc(MEBIBYTE, index)]);
  });
  afterAll(() => meter.remove());

  async function upgrade(path: string): Promise<Socket> {
    const socket = await meter.openHttp1();
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    await once(socket, "readable");
    return socket;
  }

  it(
    "hardly rises for WebSocket messages in fragments that arrive beside much else",
    async () => {
      const pong = Buffer.concat([Buffer.from([0x8a, 0x80 | 125, 0, 0, 0, 0]), Buffer.alloc(125)]);
      const pongs = Buffer.concat(Array.from({ length: 499 }, () => pong));
      const attack = async (): Promise<void> => {
        const sockets: Socket[] = [];
        for (let index = 0; index < FRAGMENTED; index++)
          sockets.push(await upgrade(`${BUCKETS}/b/watch?start=now`));
        for (let round = 0; round < FRAGMENTS; round++) {
          const fragment = Buffer.from([round === 0 ? 1 : 0, 0x81, 0, 0, 0, 0, 65]);
          for (const socket of sockets) if (socket.writable) socket.write(Buffer.concat([pongs, fragment]));
          await meter.roundTrip();
        }
        for (const socket of sockets) socket.destroy();
      };
      expect(await meter.of(attack, "WebSockets, fragments")).toBeLessThan(OVERHEAD_BYTES);
    },
    PEAK_TIMEOUT_MS,
  );

  /** The next snapshot is as of another revision: watches do not share it. */
  const touch = (): Promise<unknown> => meter.put("b", "small", "x");

  it(
    "stays within the budgets for WebSockets that read nothing of their snapshots",
    async () => {
      const attack = async (): Promise<void> => {
        const sockets: Socket[] = [];
        for (let index = 0; index < WATCHES; index++) {
          sockets.push(await upgrade(`${BUCKETS}/b/watch`));
          await touch();
        }
        await meter.stopped("ironflow_watch_queue_bytes");
        for (const socket of sockets) socket.destroy();
      };
      expect(await meter.of(attack, "WebSockets, unread snapshots")).toBeLessThan(
        OVERHEAD_BYTES + 2 * TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budgets for gRPC watches whose snapshots may not be sent",
    async () => {
      const fields = { "content-type": "application/grpc", te: "trailers" };
      const head = requestHead("POST", `${KEY_VALUE_SERVICE}/Watch`, fields);
      const ofBucketB = Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x62]);
      const attack = async (): Promise<void> => {
        const session = await meter.openHttp2(setting(INITIAL_WINDOW_SIZE, 0));
        for (let id = 1; id < 2 * WATCHES; id += 2) {
          session.write(
            frame(Frame.HEADERS, END_HEADERS, id, head),
            frame(Frame.DATA, END_STREAM, id, ofBucketB),
          );
          await session.until(({ type, streamId }) => type === Frame.HEADERS && streamId === id);
          await touch();
        }
        await meter.stopped("ironflow_watch_queue_bytes");
        session.close();
      };
      expect(await meter.of(attack, "gRPC watches, window 0")).toBeLessThan(OVERHEAD_BYTES + 2 * TOTAL_BYTES);
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budgets for changes of many buckets that slow watches do not read and fast ones do",
    async () => {
      const attack = async (): Promise<void> => {
        const sockets: Socket[] = [];
        for (let bucket = 0; bucket < CHANGED_BUCKETS; bucket++) {
          const name = `changed-${bucket}`;
          const path = `${BUCKETS}/${name}`;
          await meter.createBucket(name);
          sockets.push(await upgrade(`${path}/watch?start=now`));
          const reading = await upgrade(`${path}/watch?start=now`);
          sockets.push(reading.resume());
          for (let index = 0; index < KEYS; index++)
            await meter.put(name, "k", Buffer.alloc(MEBIBYTE, index));
        }
        await meter.stopped("ironflow_watch_queue_bytes");
        for (const socket of sockets) socket.destroy();
      };
      expect(await meter.of(attack, "WebSockets, unread changes")).toBeLessThan(
        OVERHEAD_BYTES + 2 * TOTAL_BYTES + RECENT_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );
}

describePeaks("the peak of the resident memory", suite, isExtended);

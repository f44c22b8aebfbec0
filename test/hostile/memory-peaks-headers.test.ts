/** The peak of the resident memory while clients send header fields and trailers that cost more than their bytes. */
import type { Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  huffmanZeros,
  type RawSession,
} from "../../packages/http2/test/raw-session.js";
import { isExtendedFor } from "../support/extended.js";
import {
  BUCKETS,
  describePeaks,
  MEBIBYTE,
  OVERHEAD_BYTES,
  PEAK_TIMEOUT_MS,
  PeakMeter,
  requestHead,
  TOTAL_BYTES,
} from "./peaks.js";

const FRAME_BYTES = 16_384;
/** A header block has at most 16 frames. */
const LONG_BYTES = 240_000;
/** What two dozen connections take beside their requests. */
const CONNECTIONS_BYTES = 16 * MEBIBYTE;
const PUT_PATH = `${BUCKETS}/b/keys/k`;
const putHead = (fields?: Readonly<Record<string, string>>): Buffer => requestHead("PUT", PUT_PATH, fields);

/** The frames of a header block. `isEnd`: whether the last one says so. */
function blockFrames(id: number, block: Buffer, flags = 0, isEnd = true): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < block.length; at += FRAME_BYTES) {
    const isLast = at + FRAME_BYTES >= block.length;
    const type = at === 0 ? Frame.HEADERS : Frame.CONTINUATION;
    const all = (at === 0 ? flags : 0) | (isLast && isEnd ? END_HEADERS : 0);
    frames.push(frame(type, all, id, block.subarray(at, at + FRAME_BYTES)));
  }
  return frames;
}

const isExtended = isExtendedFor("memory peaks of headers", "each attack takes seconds of CPU time");

function suite(): void {
  let meter: PeakMeter;
  // Each has its own: V8 returns the memory of many short strings late.
  beforeEach(async () => {
    meter = await PeakMeter.start({
      "total-incomplete-request-bytes-max": String(TOTAL_BYTES),
      "header-bytes-max": String(MEBIBYTE),
    });
    await meter.createBucket("b");
  });
  afterEach(() => meter.remove());

  /** Opens streams on so many connections at once; their bodies never come. Returns the bytes that the service holds for them. */
  async function openStreams(
    connections: number,
    streams: number,
    block: (connection: number, stream: number) => Buffer,
  ): Promise<number> {
    const sessions: RawSession[] = [];
    for (let connection = 0; connection < connections; connection++) {
      const session = await meter.openHttp2();
      sessions.push(session);
      for (let stream = 0; stream < streams && !session.isClosed; stream++)
        if (!session.write(...blockFrames(1 + 2 * stream, block(connection, stream))))
          await session.drained();
      await session.roundTrip();
    }
    const held = await meter.liveBytes();
    for (const session of sessions) session.close();
    return held;
  }

  it(
    "hardly rises for connections that sent one long request each and stay open",
    async () => {
      const attack = async (): Promise<void> => {
        const sessions: RawSession[] = [];
        for (let index = 0; index < 250; index++) {
          const session = await meter.openHttp2();
          sessions.push(session);
          const block = requestHead("GET", "/healthz", { "x-filler": `${index}-`.padEnd(LONG_BYTES, "x") });
          session.write(...blockFrames(1, block, END_STREAM));
          await session.until(({ type, streamId }) => type === Frame.HEADERS && streamId === 1);
        }
        for (const session of sessions) session.close();
      };
      expect(await meter.of(attack, "idle connections after long headers")).toBeLessThan(OVERHEAD_BYTES);
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budget for fields in Huffman code, which are longer than their bytes",
    async () => {
      const block = (connection: number, stream: number): Buffer =>
        Buffer.concat([putHead({ "x-number": `${connection}-${stream}` }), huffmanZeros("x-zeros", 320_000)]);
      expect(await meter.of(() => openStreams(2, 200, block), "headers in Huffman code")).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budget for many short fields",
    async () => {
      // In turn, as equal blocks are decoded once.
      const blocks = ["a", "b"].map((letter) => {
        const fields = Array.from({ length: 120 }, (_, index) => [`${letter}${index}`, `${letter}${index}`]);
        return putHead(Object.fromEntries(fields) as Record<string, string>);
      });
      const block = (_: number, stream: number): Buffer => blocks[stream % 2] ?? Buffer.alloc(0);
      expect(await meter.of(() => openStreams(10, 1_200, block), "headers of many fields")).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budget for requests of which nothing but short headers has arrived",
    async () => {
      const block = putHead();
      let held = 0;
      const attack = async (): Promise<void> => {
        held = await openStreams(24, 1_200, () => block);
      };
      expect(await meter.of(attack, "streams without a body")).toBeLessThan(OVERHEAD_BYTES + TOTAL_BYTES);
      expect(held).toBeLessThan(CONNECTIONS_BYTES + TOTAL_BYTES);
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budget for trailers over HTTP/2 that never end",
    async () => {
      const trailers = headerBlock({ "x-filler": "x".repeat(LONG_BYTES) });
      const attack = async (): Promise<void> => {
        const sessions: RawSession[] = [];
        for (let index = 0; index < 250; index++) {
          const session = await meter.openHttp2();
          sessions.push(session);
          session.write(frame(Frame.HEADERS, END_HEADERS, 1, putHead()));
          session.write(...blockFrames(1, trailers, END_STREAM, false));
          await session.drained();
        }
        await meter.roundTrip();
        for (const session of sessions) session.close();
      };
      expect(await meter.of(attack, "trailers without an end, HTTP/2")).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );

  it(
    "stays within the budget for trailers over HTTP/1.1 that never end",
    async () => {
      const attack = async (): Promise<void> => {
        const sockets: Socket[] = [];
        for (let index = 0; index < 250; index++) {
          const socket = await meter.openHttp1();
          sockets.push(socket.resume());
          socket.write(
            `PUT ${PUT_PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Filler: `,
          );
          socket.write("x".repeat(LONG_BYTES));
          await meter.roundTrip();
        }
        for (const socket of sockets) socket.destroy();
      };
      expect(await meter.of(attack, "trailers without an end, HTTP/1.1")).toBeLessThan(
        OVERHEAD_BYTES + TOTAL_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );
}

describePeaks("the peak of the resident memory", suite, isExtended);

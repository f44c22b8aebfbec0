/** The peak of the resident memory while clients send header fields and trailers that cost more than their bytes. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { platform } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  huffmanZeros,
  RawSession,
} from "../../packages/http2/test/raw-session.js";
import { isExtendedFor } from "../support/extended.js";
import { send1 } from "../support/http-client.js";
import { MEBIBYTE, OVERHEAD_BYTES, PeakMeter, TOTAL_BYTES } from "./peaks.js";

const BUCKETS = "/api/v1/kv/buckets";
const FRAME_BYTES = 16_384;
/** A header block has at most 16 frames. */
const LONG_BYTES = 240_000;
/** What two dozen connections take beside their requests. */
const CONNECTIONS_BYTES = 16 * MEBIBYTE;
const PUT = {
  ":method": "PUT",
  ":scheme": "http",
  ":authority": "localhost",
  ":path": `${BUCKETS}/b/keys/k`,
};
const GET = { ":method": "GET", ":scheme": "http", ":authority": "localhost", ":path": "/healthz" };

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

describe.skipIf(platform() !== "linux" || !isExtended)("the peak of the resident memory", () => {
  let meter: PeakMeter;
  // Each has its own: V8 returns the memory of many short strings late.
  beforeEach(async () => {
    meter = await PeakMeter.start({
      "total-incomplete-request-bytes-max": String(TOTAL_BYTES),
      "header-bytes-max": String(MEBIBYTE),
    });
    await send1(meter.url, "POST", BUCKETS, { body: '{"name":"b"}' });
  });
  afterEach(() => meter.target.remove());

  /** Opens streams on so many connections at once; their bodies never come. Returns the bytes that the service holds for them. */
  async function openStreams(
    connections: number,
    streams: number,
    block: (connection: number, stream: number) => Buffer,
  ): Promise<number> {
    const sessions: RawSession[] = [];
    for (let connection = 0; connection < connections; connection++) {
      const session = await RawSession.open(meter.port);
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

  it("hardly rises for connections that sent one long request each and stay open", async () => {
    const attack = async (): Promise<void> => {
      const sessions: RawSession[] = [];
      for (let index = 0; index < 250; index++) {
        const session = await RawSession.open(meter.port);
        sessions.push(session);
        const block = headerBlock({ ...GET, "x-filler": `${index}-`.padEnd(LONG_BYTES, "x") });
        session.write(...blockFrames(1, block, END_STREAM));
        await session.until(({ type, streamId }) => type === Frame.HEADERS && streamId === 1);
      }
      for (const session of sessions) session.close();
    };
    expect(await meter.of(attack, "idle connections after long headers")).toBeLessThan(OVERHEAD_BYTES);
  }, 240_000);

  it("stays within the budget for fields in Huffman code, which are longer than their bytes", async () => {
    const block = (connection: number, stream: number): Buffer =>
      Buffer.concat([
        headerBlock({ ...PUT, "x-number": `${connection}-${stream}` }),
        huffmanZeros("x-zeros", 320_000),
      ]);
    expect(await meter.of(() => openStreams(2, 200, block), "headers in Huffman code")).toBeLessThan(
      OVERHEAD_BYTES + TOTAL_BYTES,
    );
  }, 240_000);

  it("stays within the budget for many short fields", async () => {
    // In turn, as equal blocks are decoded once.
    const blocks = ["a", "b"].map((letter) => {
      const fields = Array.from({ length: 120 }, (_, index) => [`${letter}${index}`, `${letter}${index}`]);
      return headerBlock({ ...PUT, ...(Object.fromEntries(fields) as Record<string, string>) });
    });
    const block = (_: number, stream: number): Buffer => blocks[stream % 2] ?? Buffer.alloc(0);
    expect(await meter.of(() => openStreams(10, 1_200, block), "headers of many fields")).toBeLessThan(
      OVERHEAD_BYTES + TOTAL_BYTES,
    );
  }, 240_000);

  it("stays within the budget for requests of which nothing but short headers has arrived", async () => {
    const block = headerBlock(PUT);
    let held = 0;
    const attack = async (): Promise<void> => {
      held = await openStreams(24, 1_200, () => block);
    };
    expect(await meter.of(attack, "streams without a body")).toBeLessThan(OVERHEAD_BYTES + TOTAL_BYTES);
    expect(held).toBeLessThan(CONNECTIONS_BYTES + TOTAL_BYTES);
  }, 240_000);

  it("stays within the budget for trailers over HTTP/2 that never end", async () => {
    const trailers = headerBlock({ "x-filler": "x".repeat(LONG_BYTES) });
    const attack = async (): Promise<void> => {
      const sessions: RawSession[] = [];
      for (let index = 0; index < 250; index++) {
        const session = await RawSession.open(meter.port);
        sessions.push(session);
        session.write(frame(Frame.HEADERS, END_HEADERS, 1, headerBlock(PUT)));
        session.write(...blockFrames(1, trailers, END_STREAM, false));
        await session.drained();
      }
      await send1(meter.url, "GET", "/healthz");
      for (const session of sessions) session.close();
    };
    expect(await meter.of(attack, "trailers without an end, HTTP/2")).toBeLessThan(
      OVERHEAD_BYTES + TOTAL_BYTES,
    );
  }, 240_000);

  it("stays within the budget for trailers over HTTP/1.1 that never end", async () => {
    const attack = async (): Promise<void> => {
      const sockets: Socket[] = [];
      for (let index = 0; index < 250; index++) {
        const socket = connect(meter.port, "127.0.0.1");
        socket.on("error", () => undefined);
        sockets.push(socket.resume());
        await once(socket, "connect");
        socket.write(
          `PUT ${BUCKETS}/b/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Filler: `,
        );
        socket.write("x".repeat(LONG_BYTES));
        await send1(meter.url, "GET", "/healthz");
      }
      for (const socket of sockets) socket.destroy();
    };
    expect(await meter.of(attack, "trailers without an end, HTTP/1.1")).toBeLessThan(
      OVERHEAD_BYTES + TOTAL_BYTES,
    );
  }, 240_000);
});

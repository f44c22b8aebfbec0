/** The peak of the resident memory while the heads of many requests arrive, complete or not, and their bodies never do. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { END_HEADERS, Frame, frame, type RawSession } from "../../packages/http2/test/raw-session.js";
import { IS_EXTENDED, unlessExtended } from "../support/extended.js";
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

/** More than the budgets allow. */
const UPLOADS = 400;
/** Of one header field. */
const HEADER_BYTES = 200_000;
const FRAME_BYTES = 16_384;
/** On one connection each. */
const HALF_HEADS = 2_200;
/** Node's parser has a slot for each of this many fields. */
const PARSER_SLOTS = 32;
const PUT_PATH = `${BUCKETS}/b/keys/k`;
const LIMITS = {
  "total-incomplete-request-bytes-max": String(TOTAL_BYTES),
  "header-bytes-max": String(MEBIBYTE),
};
const NODE_LIMITS = { ...LIMITS, http2: "node" };

/** Each attack takes seconds of CPU time: `npm test` makes those that differ most. */
const itExtended = it.runIf(IS_EXTENDED);

describePeaks("the peak of the resident memory", () => {
  let meter: PeakMeter;
  afterEach(() => meter.remove());

  /** Opens streams with long header fields on one connection; their bodies never come. Node's HTTP/2 server limits a field to 64 KiB. */
  async function floodHeaders(connection: number, fieldBytes = HEADER_BYTES): Promise<void> {
    const session = await meter.openHttp2();
    const isOpen = (): boolean => !session.isClosed;
    for (let index = 0; index < UPLOADS && isOpen(); index++) {
      // Each differs: equal blocks are decoded once.
      const filler = `${connection}-${index}-${"x".repeat(fieldBytes)}`;
      const block = requestHead("PUT", PUT_PATH, { "x-filler": filler });
      const id = 1 + 2 * index;
      for (let at = 0; at < block.length; at += FRAME_BYTES) {
        const isLast = at + FRAME_BYTES >= block.length;
        const type = at === 0 ? Frame.HEADERS : Frame.CONTINUATION;
        const sent = session.write(
          frame(type, isLast ? END_HEADERS : 0, id, block.subarray(at, at + FRAME_BYTES)),
        );
        if (!sent && isOpen()) await session.drained();
      }
    }
    if (isOpen()) await session.roundTrip();
    session.close();
  }

  /** Sends a header block without its end, as long as Node's HTTP/2 server accepts: nghttp2 allows 8 CONTINUATION frames. */
  async function sendHalfHead(connection: number): Promise<RawSession> {
    const session = await meter.openHttp2();
    const filler = `${connection}-${"x".repeat(47_000)}`;
    const block = requestHead("GET", "/", { "x-0": filler, "x-1": filler, "x-2": filler });
    for (let at = 0; at < block.length && !session.isClosed; at += FRAME_BYTES)
      session.write(
        frame(at === 0 ? Frame.HEADERS : Frame.CONTINUATION, 0, 1, block.subarray(at, at + FRAME_BYTES)),
      );
    return session;
  }

  /** Sends complete requests on one connection, whose long field is the last one, then the one before it, and so on. */
  async function sendShiftedHeads(): Promise<Socket> {
    const socket = await meter.openHttp1();
    for (let before = PARSER_SLOTS - 2; before >= 0; before--) {
      const fields = Array.from({ length: before }, (_, index) => `A${index}: b\r\n`).join("");
      socket.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n${fields}X-Filler: `);
      socket.write(Buffer.alloc(4 * HEADER_BYTES, "x"));
      socket.write("\r\n\r\n");
      await once(socket, "data");
    }
    return socket;
  }

  /** Sends the same on many connections, and waits until the service has read it. */
  async function floodHttp1(head: string, rest: Buffer): Promise<void> {
    const sockets: Socket[] = [];
    for (let index = 0; index < UPLOADS; index++) {
      const socket = await meter.openHttp1();
      sockets.push(socket.resume());
      socket.write(head);
      socket.write(rest);
      if (index % 50 === 49) await meter.settled(sockets);
    }
    await meter.settled(sockets);
    for (let index = 0; index < 5; index++) await meter.roundTrip();
    for (const socket of sockets) socket.destroy();
  }

  async function expectWithinBudget(attack: () => Promise<unknown>, name: string): Promise<void> {
    expect(await meter.of(attack, name)).toBeLessThan(OVERHEAD_BYTES + TOTAL_BYTES);
  }

  it(
    "stays within the budget of all connections for headers of incomplete requests over HTTP/2",
    async () => {
      meter = await PeakMeter.start(LIMITS);
      const attack = (): Promise<unknown> => Promise.all([1, 2].map((index) => floodHeaders(index)));
      await expectWithinBudget(attack, "headers, two connections, HTTP/2");
    },
    PEAK_TIMEOUT_MS,
  );

  itExtended(
    "stays within the budget of all connections for headers of incomplete requests over HTTP/1.1",
    async () => {
      meter = await PeakMeter.start(LIMITS);
      const filler = "x".repeat(HEADER_BYTES);
      const fields = Array.from({ length: 5 }, (_, index) => `X-${index}: ${filler}\r\n`).join("");
      const head = `PUT ${PUT_PATH} HTTP/1.1\r\nHost: localhost\r\n${fields}Content-Length: 9\r\n\r\n`;
      await expectWithinBudget(() => floodHttp1(head, Buffer.from("half")), "headers, HTTP/1.1");
    },
    PEAK_TIMEOUT_MS,
  );

  itExtended(
    "stays within the budget of all connections for headers of incomplete requests with HTTP2=node",
    async () => {
      meter = await PeakMeter.start(NODE_LIMITS);
      const attack = (): Promise<unknown> =>
        Promise.all(Array.from({ length: 12 }, (_, index) => floodHeaders(index, 60_000)));
      await expectWithinBudget(attack, "headers, twelve connections, HTTP2=node");
    },
    PEAK_TIMEOUT_MS,
  );

  itExtended(
    "stays within the budget of all connections for incomplete heads with HTTP2=node",
    async () => {
      meter = await PeakMeter.start(NODE_LIMITS);
      const attack = async (): Promise<void> => {
        const sessions: RawSession[] = [];
        for (let index = 0; index < HALF_HEADS; index++) sessions.push(await sendHalfHead(index));
        await meter.roundTrip();
        for (const session of sessions) session.close();
      };
      await expectWithinBudget(attack, "incomplete heads, HTTP2=node");
    },
    PEAK_TIMEOUT_MS,
  );

  it.each(
    unlessExtended(
      [
        ["first on their connections", ""],
        ["pipelined behind a complete one", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"],
      ],
      1,
    ),
  )(
    "stays within the budget of all connections for incomplete heads over HTTP/1.1, %s",
    async (name, first) => {
      meter = await PeakMeter.start(LIMITS);
      const head = `${first}GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Filler: `;
      const attack = (): Promise<unknown> => floodHttp1(head, Buffer.alloc(MEBIBYTE - 1_024, "x"));
      await expectWithinBudget(attack, `incomplete heads, ${name}, HTTP/1.1`);
    },
    PEAK_TIMEOUT_MS,
  );

  itExtended(
    "hardly rises for heads in two pieces, of which each has its long field elsewhere",
    async () => {
      meter = await PeakMeter.start({ "header-bytes-max": String(MEBIBYTE) });
      const attack = async (): Promise<void> => {
        const sockets = await Promise.all(Array.from({ length: 12 }, sendShiftedHeads));
        for (const socket of sockets) socket.destroy();
      };
      expect(await meter.of(attack, "heads with a long field at each place, HTTP/1.1")).toBeLessThan(
        OVERHEAD_BYTES,
      );
    },
    PEAK_TIMEOUT_MS,
  );
});

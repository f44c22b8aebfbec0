/** What a client may ask of one connection: beyond it a stream is refused, or the connection ends. */
import { afterEach, describe, expect, it } from "vitest";
import type { RequestStream } from "../src/stream.js";
import type { Http2Limits } from "../src/limits.js";
import {
  ACK,
  CANCEL,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  Frame,
  frame,
  headerBlock,
  RawSession,
  type ReceivedFrame,
  setting,
  uint32,
} from "./raw-session.js";
import { type EchoServer, startEcho } from "./echo.js";

const REFUSED_STREAM = 7;
const PROTOCOL_ERROR = 1;
const INITIAL_WINDOW_SIZE = 4;
const PRIORITY = 0x20;
const HEAD = headerBlock({ ":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/" });
const MEBIBYTE = 1_048_576;

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function start(
  answer: (stream: RequestStream) => void,
  limits: Partial<Http2Limits> = {},
): Promise<EchoServer> {
  const server = await startEcho(answer, limits);
  cleanUp.push(() => server.stop());
  return server;
}

async function openSession(server: EchoServer, settings?: Uint8Array): Promise<RawSession> {
  const session = await RawSession.open(server.port, settings);
  cleanUp.push(() => session.close());
  return session;
}

/** Takes the body and answers behind it with so many bytes. */
const answering =
  (bytes: number) =>
  (stream: RequestStream): void => {
    const received = (): void => {
      stream.respond(200, {}, false);
      stream.end(Buffer.alloc(bytes, "x"));
    };
    stream.listener = { receive: () => undefined, received, abandon: () => undefined };
    if (stream.isRequestComplete) received();
  };

const open = (id: number, flags = END_HEADERS): Buffer => frame(Frame.HEADERS, flags, id, HEAD);
const body = (id: number, bytes: number): Buffer[] =>
  Array.from({ length: bytes / 16_384 }, () => frame(Frame.DATA, 0, id, Buffer.alloc(16_384)));
const end = (id: number): Buffer => frame(Frame.DATA, END_STREAM, id, Buffer.alloc(0));

const isOf =
  (type: number, id: number) =>
  (received: ReceivedFrame): boolean =>
    received.type === type && received.streamId === id;
const codeOf = (received: ReceivedFrame | undefined): number | undefined =>
  received?.payload.readUInt32BE(received.type === Frame.GOAWAY ? 4 : 0);

/** Does something every few milliseconds until the promise resolves. */
async function meanwhile(until: Promise<unknown>, act: () => void): Promise<void> {
  const timer = setInterval(act, 20);
  await until;
  clearInterval(timer);
}

describe("beyond what a connection may hold", () => {
  it("of bodies that do not end, a stream is refused, and those before and after it go on", async () => {
    const session = await openSession(await start(answering(1), { incompleteRequestBytesMax: MEBIBYTE }));
    session.write(open(1), ...body(1, MEBIBYTE / 2), open(3), ...body(3, MEBIBYTE));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 3)))).toBe(REFUSED_STREAM);
    session.write(end(1));
    expect(await session.until(isOf(Frame.DATA, 1))).toBeDefined();
    session.write(open(5), ...body(5, MEBIBYTE / 2), ...body(5, MEBIBYTE / 2), end(5));
    expect(await session.until(isOf(Frame.DATA, 5))).toBeDefined();
  });

  it("of answers that are not taken, streams are refused until they are", async () => {
    const server = await start(answering(400_000), { unsentResponseBytesMax: MEBIBYTE });
    const session = await openSession(server, setting(INITIAL_WINDOW_SIZE, 0));
    for (const id of [1, 3, 5, 7]) session.write(open(id, END_HEADERS | END_STREAM));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 7)))).toBe(REFUSED_STREAM);
    session.write(
      frame(Frame.WINDOW_UPDATE, 0, 0, uint32(MEBIBYTE)),
      frame(Frame.WINDOW_UPDATE, 0, 1, uint32(400_000)),
    );
    await session.until((one) => isOf(Frame.DATA, 1)(one) && (one.flags & END_STREAM) !== 0);
    session.write(open(9, END_HEADERS | END_STREAM));
    expect(await session.until(isOf(Frame.HEADERS, 9))).toBeDefined();
  });

  it("an answer of which a byte is taken now and then is ended", async () => {
    const server = await start(answering(400_000), { answerTimeoutMs: 300 });
    const session = await openSession(server, setting(INITIAL_WINDOW_SIZE, 0));
    session.write(open(1, END_HEADERS | END_STREAM));
    const reset = session.until(isOf(Frame.RST_STREAM, 1));
    await meanwhile(reset, () => session.write(frame(Frame.WINDOW_UPDATE, 0, 1, uint32(1))));
    expect(codeOf(await reset)).toBe(CANCEL);
  });

  it("of changes of all windows, it ends", async () => {
    const session = await openSession(await start(answering(1)));
    for (let size = 0; size < 200; size++)
      session.write(frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, size)));
    expect(codeOf(await session.until(isOf(Frame.GOAWAY, 0)))).toBe(ENHANCE_YOUR_CALM);
  });
});

describe("a client that answers no ping", () => {
  it.each([
    ["is gone where it sends nothing else", false],
    ["is there while it sends other frames", true],
  ])("%s", async (_name, isTalking) => {
    const server = await start(() => undefined, { pingIntervalMs: 100 });
    const session = await openSession(server);
    session.write(open(1));
    const isPing = ({ type, flags }: ReceivedFrame): boolean => type === Frame.PING && flags !== ACK;
    const fivePings = session.until(() => session.received.filter(isPing).length >= 5);
    await meanwhile(Promise.race([fivePings, session.closed()]), () => {
      if (isTalking) session.write(frame(Frame.WINDOW_UPDATE, 0, 0, uint32(1)));
    });
    expect(session.isClosed).toBe(!isTalking);
  });
});

describe("what is said of streams", () => {
  it("never names one as taken that an earlier GOAWAY did not", async () => {
    const server = await start(() => undefined);
    const session = await openSession(server);
    session.write(open(1));
    server.leave();
    const answered = new Set<string>();
    const isPing = ({ type, flags, payload }: ReceivedFrame): boolean =>
      type === Frame.PING && flags === 0 && !answered.has(payload.toString("hex"));
    const last = ({ type, payload }: ReceivedFrame): boolean =>
      type === Frame.GOAWAY && payload.readUInt32BE(0) === 1;
    for (let times = 0; times < 2; times++) {
      const ping = await session.until(isPing);
      if (ping === undefined) throw new Error("no ping came");
      answered.add(ping.payload.toString("hex"));
      session.write(frame(Frame.PING, ACK, 0, ping.payload));
    }
    await session.until(last);
    session.write(open(3), frame(Frame.SETTINGS, 0, 1, Buffer.alloc(0)));
    const isEnd = ({ type, payload }: ReceivedFrame): boolean =>
      type === Frame.GOAWAY && payload.readUInt32BE(4) === PROTOCOL_ERROR;
    expect((await session.until(isEnd))?.payload.readUInt32BE(0)).toBe(1);
  });

  it("comes after its headers where these are in two frames and depend on themselves", async () => {
    const opened: number[] = [];
    const server = await start((stream) => void opened.push(stream.id));
    const session = await openSession(server);
    session.write(frame(Frame.HEADERS, PRIORITY, 1, Buffer.concat([uint32(1), Buffer.from([0]), HEAD])));
    // What another connection sends after it is answered after it.
    const other = await openSession(server);
    other.write(frame(Frame.PING, 0, 0, Buffer.alloc(8)));
    await other.until(({ type, flags }) => type === Frame.PING && flags === ACK);
    expect(session.received.filter(isOf(Frame.RST_STREAM, 1))).toEqual([]);
    expect(opened).toEqual([]);
    session.write(frame(Frame.CONTINUATION, END_HEADERS, 1, Buffer.alloc(0)));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(PROTOCOL_ERROR);
    expect(opened).toEqual([1]);
  });

  it("is nothing of the connection where trailers come for one that was reset long ago", async () => {
    const session = await openSession(await start((stream) => stream.respond(200, {}, true)));
    for (let id = 1; id < 400; id += 2) session.write(open(id));
    await session.until(isOf(Frame.RST_STREAM, 399));
    session.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, headerBlock({ "x-end": "1" })));
    session.write(open(401, END_HEADERS | END_STREAM));
    expect(await session.until(isOf(Frame.HEADERS, 401))).toBeDefined();
  });
});

/** The life of a stream: its frames in order, its flow control, and what its listener hears. */
import { once } from "node:events";
import { describe, expect } from "vitest";
import type { RequestStream } from "../src/stream.js";
import {
  body,
  bytesOf,
  codeOf,
  end,
  head,
  idOf,
  INITIAL_WINDOW_SIZE,
  isEndOf,
  isOf,
  MEBIBYTE,
  open,
  PROTOCOL_ERROR,
  request,
  STREAM_CLOSED,
} from "./frames.js";
import { ignore, respondWith, test } from "./fixture.js";
import {
  ACK,
  CANCEL,
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  type RawSession,
  type ReceivedFrame,
  setting,
  uint32,
} from "./raw-session.js";

const PRIORITY_FLAG = 0x20;

/** Records the events of a stream. */
function record(stream: RequestStream, events: string[]): void {
  stream.listener = {
    receive: (chunk) => void events.push(`receive ${chunk.length}`),
    received: (trailers) => void events.push(`received ${JSON.stringify(trailers ?? null)}`),
    abandon: () => void events.push(`abandon ${stream.resetCode} ${stream.state}`),
    over: () => void events.push("over"),
  };
}

/** The types of the frames of a stream, with a mark for END_STREAM. */
const framesOf = (session: RawSession, id: number): string[] =>
  session.received
    .filter(({ streamId }) => streamId === id)
    .map(({ type, flags, payload }) =>
      type === Frame.RST_STREAM
        ? `RST_STREAM ${payload.readUInt32BE(0)}`
        : `${type === Frame.DATA ? `DATA ${payload.length}` : "HEADERS"}${(flags & END_STREAM) === 0 ? "" : " END_STREAM"}`,
    );

describe("a response", () => {
  test.for<[string, (stream: RequestStream) => void, string[]]>([
    ["without a body", (stream) => stream.respond(204, {}, true), ["HEADERS END_STREAM"]],
    [
      "that ends with an empty queue",
      (stream) => {
        stream.respond(200, {}, false);
        stream.end();
      },
      ["HEADERS", "DATA 0 END_STREAM"],
    ],
    [
      "of one piece",
      (stream) => {
        stream.respond(200, {}, false);
        stream.end(Buffer.from("abc"));
      },
      ["HEADERS", "DATA 3 END_STREAM"],
    ],
    [
      "with trailers and no body",
      (stream) => {
        stream.respond(200, {}, false);
        stream.end(undefined, { "x-end": "1" });
      },
      ["HEADERS", "HEADERS END_STREAM"],
    ],
    [
      "with an interim response, a body and trailers",
      (stream) => {
        stream.inform(103);
        stream.respond(200, {}, false);
        stream.write(Buffer.from("ab"));
        stream.write(Buffer.alloc(0));
        stream.end(Buffer.from("c"), { "x-end": "1" });
      },
      ["HEADERS", "HEADERS", "DATA 2", "DATA 1", "HEADERS END_STREAM"],
    ],
    [
      "ignores what follows its end",
      (stream) => {
        stream.respond(200, {}, false);
        stream.end(Buffer.from("abc"));
        stream.write(Buffer.from("late"));
        stream.end(Buffer.from("late"), { "x-end": "1" });
        stream.respond(500, {}, true);
        stream.inform(100);
        stream.reset(CANCEL);
      },
      ["HEADERS", "DATA 3 END_STREAM"],
    ],
  ])("%s", async ([, handler, frames], { peers }) => {
    const session = await peers.connect(await peers.start(handler));
    session.write(request(1));
    await session.until(isEndOf(1));
    await session.roundTrip();
    expect(framesOf(session, 1)).toEqual(frames);
  });

  test("that ends before its request is not followed by a reset, which many clients take for its end", async ({
    peers,
  }) => {
    const streams: RequestStream[] = [];
    const server = await peers.start((stream) => {
      streams.push(stream);
      stream.respond(413, {}, true);
    });
    const session = await peers.connect(server);
    session.write(open(1), frame(Frame.DATA, 0, 1, Buffer.from("abc")));
    await session.roundTrip();
    expect(streams[0]?.state).toBe("half-closed-local");
    session.write(end(1));
    await session.roundTrip();
    expect(framesOf(session, 1)).toEqual(["HEADERS END_STREAM"]);
    expect(streams[0]?.state).toBe("closed");
  });

  test("that ends before its request resets the stream with NO_ERROR if the client waits for 100 Continue", async ({
    peers,
  }) => {
    const session = await peers.connect(await peers.start((stream) => stream.respond(413, {}, true)));
    session.write(frame(Frame.HEADERS, END_HEADERS, 1, head({ expect: "100-continue" })));
    await session.until(isOf(Frame.RST_STREAM, 1));
    expect(framesOf(session, 1)).toEqual(["HEADERS END_STREAM", "RST_STREAM 0"]);
  });

  test("that ends before its request resets the stream with NO_ERROR if the connection is closing", async ({
    peers,
  }) => {
    const server = await peers.start((stream) => stream.respond(413, {}, true));
    const session = await peers.connect(server);
    session.write(open(1));
    await session.until(isOf(Frame.HEADERS, 1));
    server.closeGracefully();
    for (const number of [1, 2]) {
      const isPing = ({ type, flags, payload }: ReceivedFrame): boolean =>
        type === Frame.PING && flags === 0 && payload.readUInt32BE(4) === number;
      const ping = await session.until(isPing);
      session.write(frame(Frame.PING, ACK, 0, ping?.payload));
    }
    await session.closed();
    expect(framesOf(session, 1)).toEqual(["HEADERS END_STREAM", "RST_STREAM 0"]);
  });

  test("with fields that HTTP/2 cannot carry sends nothing", async ({ peers }) => {
    const thrown: unknown[] = [];
    const server = await peers.start((stream) => {
      try {
        stream.respond(200, { "x-a": "a\r\nb" }, true);
      } catch (error) {
        thrown.push(error);
      }
      stream.respond(500, {}, false);
      try {
        stream.end(Buffer.from("abc"), { Upper: "1" });
      } catch (error) {
        thrown.push(error);
      }
      stream.end();
    });
    const session = await peers.connect(server);
    session.write(request(1));
    await session.until(isEndOf(1));
    expect(framesOf(session, 1)).toEqual(["HEADERS", "DATA 0 END_STREAM"]);
    expect(thrown).toEqual([expect.any(TypeError), expect.any(TypeError)]);
  });

  test("waits with its trailers until the window opens, and follows a change of SETTINGS", async ({
    peers,
  }) => {
    const server = await peers.start((stream) => {
      stream.respond(200, {}, false);
      stream.end(Buffer.alloc(100), { "x-end": "1" });
    });
    const session = await peers.connect(server, setting(INITIAL_WINDOW_SIZE, 60));
    session.write(request(1));
    await session.until(isOf(Frame.DATA, 1));
    // The window is -60 now (RFC 9113 section 6.9.2), then 0, then 10, then 30, then 40.
    session.write(
      frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0)),
      frame(Frame.WINDOW_UPDATE, 0, 1, uint32(60)),
    );
    await session.roundTrip();
    expect(framesOf(session, 1)).toEqual(["HEADERS", "DATA 60"]);
    session.write(frame(Frame.WINDOW_UPDATE, 0, 1, uint32(10)));
    await session.until(() => bytesOf(session, 1) === 70);
    session.write(frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 20)));
    await session.until(() => bytesOf(session, 1) === 90);
    session.write(frame(Frame.WINDOW_UPDATE, 0, 1, uint32(10)));
    await session.until(isEndOf(1));
    expect(framesOf(session, 1)).toEqual([
      "HEADERS",
      "DATA 60",
      "DATA 10",
      "DATA 20",
      "DATA 10",
      "HEADERS END_STREAM",
    ]);
  });
});

describe("a listener hears", () => {
  test("a body, its trailers and the end, in this order", async ({ peers }) => {
    const events: string[] = [];
    const server = await peers.start((stream) => {
      record(stream, events);
      stream.respond(200, {}, false);
    });
    const session = await peers.connect(server);
    session.write(open(1), frame(Frame.DATA, 0, 1, Buffer.from("abc")), frame(Frame.DATA, 0, 1));
    session.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, headerBlock({ "x-end": "1" })));
    await session.roundTrip();
    session.write(frame(Frame.RST_STREAM, 0, 1, uint32(CANCEL)));
    await session.roundTrip();
    expect(events).toEqual(["receive 3", 'received {"x-end":"1"}', "abandon 8 closed", "over"]);
  });

  test("nothing more after a reset, by either side", async ({ peers }) => {
    const events: string[] = [];
    const streams: RequestStream[] = [];
    const server = await peers.start((stream) => {
      record(stream, events);
      streams.push(stream);
    });
    const session = await peers.connect(server);
    session.write(open(1), frame(Frame.RST_STREAM, 0, 1, uint32(CANCEL)), request(3));
    await session.roundTrip();
    expect(streams.map(({ isRequestComplete, state }) => [isRequestComplete, state])).toEqual([
      [false, "closed"],
      [true, "half-closed-remote"],
    ]);
    streams[1]?.reset(CANCEL);
    expect([streams[1]?.isRequestComplete, streams[1]?.state]).toEqual([true, "closed"]);
    for (const stream of streams) {
      stream.respond(200, {}, false);
      stream.write(Buffer.from("late"));
      stream.end(undefined, { "x-end": "1" });
      stream.consume(10);
    }
    session.write(frame(Frame.DATA, 0, 3, Buffer.from("late")));
    session.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 3, headerBlock({ "x-end": "1" })));
    await session.roundTrip();
    expect(framesOf(session, 1)).toEqual([]);
    expect(framesOf(session, 3)).toEqual(["RST_STREAM 8"]);
    expect(events).toEqual(["abandon 8 closed", "over", "abandon 8 closed", "over"]);
  });

  test("no end of a request whose body it answered early", async ({ peers }) => {
    const events: string[] = [];
    const server = await peers.start((stream) => {
      record(stream, events);
      const { listener } = stream;
      if (listener !== undefined) listener.receive = () => stream.respond(413, {}, true);
    });
    const session = await peers.connect(server);
    session.write(open(1), frame(Frame.DATA, END_STREAM, 1, Buffer.from("abc")));
    session.write(open(3), frame(Frame.DATA, 0, 3, Buffer.from("abc")), end(3));
    await session.roundTrip();
    expect(events).toEqual(["over", "over"]);
    expect(framesOf(session, 1)).toEqual(["HEADERS END_STREAM"]);
    expect(framesOf(session, 3)).toEqual(["HEADERS END_STREAM"]);
  });
});

describe("an exception in a listener goes to onFault and ends only its connection:", () => {
  const fault = new Error("a fault of the handler");
  test.for<[string, (session: RawSession) => void]>([
    [
      "when the client resets the stream",
      (session) => session.write(frame(Frame.RST_STREAM, 0, 1, uint32(CANCEL))),
    ],
    ["when the client closes the connection", (session) => session.close()],
    ["at a connection error", (session) => session.write(frame(Frame.PING, 0, 1, Buffer.alloc(8)))],
    ["at a timeout", () => undefined],
  ])("%s", async ([, act], { peers }) => {
    const overs: number[] = [];
    const server = await peers.start(
      (stream) => {
        stream.listener = {
          receive: () => undefined,
          received: () => undefined,
          abandon() {
            throw fault;
          },
          over: () => void overs.push(stream.id),
        };
      },
      { requestTimeoutMs: 500 },
    );
    const [session, other] = [await peers.connect(server), await peers.connect(server)];
    session.write(open(1), open(3));
    await session.roundTrip();
    act(session);
    await session.closed();
    await expect.poll(() => overs).toEqual([1, 3]);
    expect(server.faults).toEqual([fault, fault]);
    expect(await other.roundTrip()).toBe(true);
  });
});

describe("flow control", () => {
  test.for([true, false])(
    "gives back the connection window of reset streams (consumed on receipt: %s)",
    async (consumesOnReceipt, { peers }) => {
      const server = await peers.start((stream) => {
        ignore(stream);
        stream.consumesOnReceipt = consumesOnReceipt;
      });
      const session = await peers.connect(server);
      // More than the connection window of 8 MiB.
      for (let index = 0; index < 20; index++) {
        const id = idOf(index);
        session.write(open(id), ...body(id, MEBIBYTE), frame(Frame.RST_STREAM, 0, id, uint32(CANCEL)));
        await session.roundTrip();
      }
      expect(session.isClosed).toBe(false);
      const widened = session.received
        .filter(isOf(Frame.WINDOW_UPDATE, 0))
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
      // The first one raises the default window.
      expect(widened).toBeGreaterThanOrEqual(20 * MEBIBYTE - 4 * MEBIBYTE);
    },
  );

  test("counts padding as consumed, also where the handler consumes the content", async ({ peers }) => {
    const server = await peers.start((stream) => {
      stream.consumesOnReceipt = false;
      ignore(stream);
    });
    const session = await peers.connect(server);
    const padded = frame(Frame.DATA, 8, 1, Buffer.concat([Buffer.from([255]), Buffer.alloc(256)]));
    session.write(open(1));
    // 257 bytes a frame, of which one is content.
    for (let index = 0; index < 2_100; index++) session.write(padded);
    expect(await session.until(isOf(Frame.WINDOW_UPDATE, 1))).toBeDefined();
    expect(await session.roundTrip()).toBe(true);
  });

  test("sends no WINDOW_UPDATE for a stream whose request is complete", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore));
    session.write(
      open(1),
      ...body(1, MEBIBYTE / 2 - 16_384),
      frame(Frame.DATA, END_STREAM, 1, Buffer.alloc(16_384)),
    );
    await session.roundTrip();
    expect(session.received.filter(isOf(Frame.WINDOW_UPDATE, 1))).toEqual([]);
  });

  test("accepts WINDOW_UPDATE on a stream whose request is complete, or that is closed", async ({
    peers,
  }) => {
    const session = await peers.connect(await peers.start(respondWith(100)), setting(INITIAL_WINDOW_SIZE, 0));
    session.write(request(1));
    await session.until(isOf(Frame.HEADERS, 1));
    session.write(frame(Frame.WINDOW_UPDATE, 0, 1, uint32(100)));
    await session.until(isEndOf(1));
    session.write(frame(Frame.WINDOW_UPDATE, 0, 1, uint32(100)), frame(Frame.WINDOW_UPDATE, 0, 1, uint32(0)));
    expect(await session.roundTrip()).toBe(true);
    expect(framesOf(session, 1)).toEqual(["HEADERS", "DATA 100 END_STREAM"]);
  });
});

describe("an error", () => {
  test.for<[string, Uint8Array]>([
    ["a PRIORITY of a stream on itself", frame(Frame.PRIORITY, 0, 7, Buffer.from([0, 0, 0, 7, 16]))],
    ["a PRIORITY of an invalid length", frame(Frame.PRIORITY, 0, 7)],
    ["a PRIORITY on a stream of the server", frame(Frame.PRIORITY, 0, 2, Buffer.from([0, 0, 0, 2, 16]))],
    ["WINDOW_UPDATE", frame(Frame.WINDOW_UPDATE, 0, 7, uint32(1))],
    ["DATA", frame(Frame.DATA, 0, 7)],
  ])("of an idle stream ends the connection, without RST_STREAM: %s", async ([, bytes], { peers }) => {
    const session = await peers.connect(await peers.start(ignore));
    session.write(open(3), bytes);
    await session.closed();
    expect(session.goAwayCode).toBeGreaterThan(0);
    expect(session.received.filter(({ type }) => type === Frame.RST_STREAM)).toEqual([]);
  });

  test.for<[string, Uint8Array[], number]>([
    ["DATA after END_STREAM", [request(1), frame(Frame.DATA, 0, 1, Buffer.from("x"))], STREAM_CLOSED],
    ["HEADERS after END_STREAM", [request(1), request(1)], STREAM_CLOSED],
    ["trailers without END_STREAM", [open(1), open(1)], PROTOCOL_ERROR],
  ])("of one stream resets it: %s", async ([, frames, code], { peers }) => {
    const session = await peers.connect(await peers.start(ignore));
    session.write(...frames);
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(code);
    expect(await session.roundTrip()).toBe(true);
  });

  test("in a header block of two frames is reported after the block", async ({ peers }) => {
    const opened: number[] = [];
    const server = await peers.start((stream) => void opened.push(stream.id));
    const session = await peers.connect(server);
    session.write(
      frame(Frame.HEADERS, PRIORITY_FLAG, 1, Buffer.concat([uint32(1), Buffer.from([0]), head()])),
    );
    // The server handles what another connection sends later after it.
    await (await peers.connect(server)).roundTrip();
    expect(session.received.filter(isOf(Frame.RST_STREAM, 1))).toEqual([]);
    expect(opened).toEqual([]);
    session.write(frame(Frame.CONTINUATION, END_HEADERS, 1));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(PROTOCOL_ERROR);
    expect(opened).toEqual([1]);
  });

  test("is none where trailers come for a stream that was reset long ago", async ({ peers }) => {
    const session = await peers.connect(await peers.start((stream) => stream.reset(CANCEL)));
    for (let index = 0; index < 200; index++) session.write(open(idOf(index)));
    await session.until(isOf(Frame.RST_STREAM, 399));
    session.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, headerBlock({ "x-end": "1" })));
    session.write(request(1_401));
    expect(await session.until(isOf(Frame.RST_STREAM, 1_401))).toBeDefined();
  });
});

describe("GOAWAY", () => {
  test("never names a higher stream than an earlier one did (RFC 9113 section 6.8)", async ({ peers }) => {
    const server = await peers.start(ignore);
    const session = await peers.connect(server);
    session.write(open(1));
    await session.roundTrip();
    server.closeGracefully();
    // A second call changes nothing.
    server.closeGracefully();
    const goAways = (): number[][] =>
      session.received
        .filter(isOf(Frame.GOAWAY, 0))
        .map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)]);
    const answered = new Set<ReceivedFrame>();
    while (goAways().length < 2) {
      const ping = await session.until(
        (one) => one.type === Frame.PING && one.flags === 0 && !answered.has(one),
      );
      if (ping === undefined) throw new Error("The connection closed.");
      answered.add(ping);
      session.write(frame(Frame.PING, ACK, 0, ping.payload));
      await session.roundTrip();
    }
    session.write(open(3), frame(Frame.SETTINGS, 0, 1, Buffer.alloc(0)));
    await session.closed();
    expect(goAways()).toEqual([
      [2 ** 31 - 1, 0],
      [1, 0],
      [1, PROTOCOL_ERROR],
    ]);
  });
});

test("a connection that closes tells every stream", async ({ peers }) => {
  const events: string[] = [];
  const server = await peers.start((stream) => record(stream, events));
  const session = await peers.connect(server);
  session.write(open(1), request(3));
  await session.roundTrip();
  session.socket.end();
  await once(session.socket, "close");
  await expect.poll(() => events).toEqual(["abandon 0 closed", "over", "abandon 0 closed", "over"]);
});

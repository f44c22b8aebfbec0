/** Floods and other abuse by one client. README.md lists each attack, its limit and its test. */
import { describe, expect } from "vitest";
import { ByteBudget } from "../src/byte-budget.js";
import { DEFAULT_HTTP2_LIMITS } from "../src/limits.js";
import type { RequestStream } from "../src/stream.js";
import {
  body,
  codeOf,
  end,
  flood,
  FLOW_CONTROL_ERROR,
  head,
  idOf,
  INITIAL_WINDOW_SIZE,
  isEndOf,
  isOf,
  MEBIBYTE,
  open,
  request,
  REFUSED_STREAM,
} from "./frames.js";
import { ignore, respondWith, test } from "./fixture.js";
import {
  ACK,
  CANCEL,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  Frame,
  frame,
  headerBlock,
  setting,
  uint32,
} from "./raw-session.js";

const NOTHING = Buffer.alloc(0);
const PING = frame(Frame.PING, 0, 0, Buffer.alloc(8));
const literal = (bytes: number[], text: string): Buffer =>
  Buffer.concat([Buffer.from(bytes), Buffer.from(text)]);

describe("a flood ends its connection:", () => {
  test.for<[string, (index: number) => Uint8Array[]]>([
    [
      "streams opened and canceled (rapid reset, CVE-2023-44487)",
      (index) => [open(idOf(index)), frame(Frame.RST_STREAM, 0, idOf(index), uint32(CANCEL))],
    ],
    [
      "streams opened and reset without an error",
      (index) => [open(idOf(index)), frame(Frame.RST_STREAM, 0, idOf(index), uint32(0))],
    ],
    [
      "resets provoked by WINDOW_UPDATE of 0 (MadeYouReset, CVE-2025-8671)",
      (index) => [open(idOf(index)), frame(Frame.WINDOW_UPDATE, 0, idOf(index), uint32(0))],
    ],
    [
      "resets provoked by a stream window overflow (MadeYouReset)",
      (index) => [open(idOf(index)), frame(Frame.WINDOW_UPDATE, 0, idOf(index), uint32(2 ** 31 - 1))],
    ],
    [
      "resets provoked by DATA after END_STREAM (MadeYouReset)",
      (index) => [request(idOf(index)), frame(Frame.DATA, 0, idOf(index), Buffer.from("x"))],
    ],
    [
      "resets provoked by PRIORITY of an invalid length (MadeYouReset)",
      (index) => [open(idOf(index)), frame(Frame.PRIORITY, 0, idOf(index), NOTHING)],
    ],
    [
      "malformed requests (CVE-2019-9514)",
      (index) => [frame(Frame.HEADERS, END_HEADERS, idOf(index), headerBlock({ "": "x" }))],
    ],
    ["streams beyond the limit", (index) => [open(idOf(index))]],
    [
      "CONTINUATION (CVE-2024-27983)",
      (index) =>
        index === 0
          ? [frame(Frame.HEADERS, 0, 1, head())]
          : [frame(Frame.CONTINUATION, 0, 1, headerBlock({ [`x-${index}`]: "y".repeat(1_000) }))],
    ],
    [
      "empty CONTINUATION",
      (index) => [index === 0 ? frame(Frame.HEADERS, 0, 1, head()) : frame(Frame.CONTINUATION, 0, 1)],
    ],
    ["empty DATA (CVE-2019-9518)", (index) => [index === 0 ? open(1) : frame(Frame.DATA, 0, 1)]],
    [
      "empty DATA on a reset stream",
      (index) => [
        ...(index === 0 ? [open(1), frame(Frame.WINDOW_UPDATE, 0, 1, uint32(0))] : []),
        frame(Frame.DATA, 0, 1),
      ],
    ],
    [
      "header blocks on a reset stream",
      (index) => [
        ...(index === 0 ? [open(1), frame(Frame.WINDOW_UPDATE, 0, 1, uint32(0))] : []),
        frame(Frame.HEADERS, END_HEADERS, 1, NOTHING),
      ],
    ],
    ["SETTINGS (CVE-2019-9515)", () => [frame(Frame.SETTINGS, 0, 0, setting(3, 100))]],
    ["SETTINGS acknowledgments", () => [frame(Frame.SETTINGS, ACK, 0)]],
    [
      "SETTINGS that change every window",
      (index) => [frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, index))],
    ],
    ["PING acknowledgments", () => [frame(Frame.PING, ACK, 0, Buffer.alloc(8))]],
    ["PRIORITY (CVE-2019-9513)", () => [frame(Frame.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 16]))]],
    ["GOAWAY", () => [frame(Frame.GOAWAY, 0, 0, Buffer.alloc(8))]],
    ["frames of an unknown type", () => [frame(0x77, 0, 0, NOTHING)]],
  ])("%s", async ([, make], { peers }) => {
    const server = await peers.start(ignore);
    const session = await peers.connect(server);
    await flood(session, 40_000, make);
    await session.closed();
    expect(session.goAwayCode).toBe(ENHANCE_YOUR_CALM);
    const other = await peers.connect(server);
    expect(await other.roundTrip()).toBe(true);
  });

  test("requests after the last GOAWAY", async ({ peers }) => {
    const server = await peers.start(ignore);
    const session = await peers.connect(server);
    session.write(open(1));
    await session.roundTrip();
    server.closeGracefully();
    const answered = new Set<string>();
    while (!session.received.some(({ type, payload }) => type === Frame.GOAWAY && payload[3] === 1)) {
      const ping = await session.until(
        ({ type, flags, payload }) =>
          (type === Frame.PING && flags === 0 && !answered.has(payload.toString("hex"))) ||
          (type === Frame.GOAWAY && payload[3] === 1),
      );
      if (ping?.type !== Frame.PING) continue;
      answered.add(ping.payload.toString("hex"));
      session.write(frame(Frame.PING, ACK, 0, ping.payload));
    }
    await flood(session, 10_000, (index) => [open(idOf(index + 1))]);
    await session.closed();
    expect(codeOf(session.received.find(isOf(Frame.RST_STREAM, 3)))).toBe(REFUSED_STREAM);
    expect(session.goAwayCode).toBe(ENHANCE_YOUR_CALM);
  });

  test.for<[string, Uint8Array]>([
    ["PING (CVE-2019-9512)", PING],
    ["SETTINGS (CVE-2019-9515)", frame(Frame.SETTINGS, 0, 0, setting(3, 100))],
    ["requests", Buffer.concat([0, 1, 2, 3].map((index) => request(idOf(index))))],
  ])("%s whose answers the client never reads", async ([name, one], { peers }) => {
    const server = await peers.start((stream) => stream.respond(200, { "x-long": "y".repeat(1_000) }, true));
    const session = await peers.connect(server);
    session.socket.pause();
    let index = 0;
    const make = (): Uint8Array => (name === "requests" ? request(idOf(index++)) : one);
    // The answers fill the socket buffers of both sides first.
    while (!session.isClosed) {
      session.write(...Array.from({ length: 1_000 }, make));
      await session.drained();
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
});

describe("a busy client is not an attacker:", () => {
  test("999 answered streams that the client ends at once", async ({ peers }) => {
    const server = await peers.start((stream) => {
      stream.respond(200, {}, false);
    });
    const session = await peers.connect(server);
    for (let round = 0; round < 3; round++) {
      const ids = Array.from({ length: 999 }, (_, index) => idOf(index + 999 * round));
      session.write(...ids.map((id) => request(id)));
      await session.until(isOf(Frame.HEADERS, ids.at(-1) ?? 0));
      session.write(...ids.map((id) => frame(Frame.RST_STREAM, 0, id, uint32(CANCEL))));
      expect(await session.roundTrip()).toBe(true);
    }
  });

  test("whose flood ends the connection still gets the responses to its complete requests", async ({
    peers,
  }) => {
    const held: RequestStream[] = [];
    const server = await peers.start((stream) => {
      ignore(stream);
      if (stream.isRequestComplete) held.push(stream);
    });
    const session = await peers.connect(server);
    session.write(request(1));
    await flood(session, 3_000, (index) => [
      open(idOf(index + 1)),
      frame(Frame.RST_STREAM, 0, idOf(index + 1), uint32(CANCEL)),
    ]);
    await session.until(({ type }) => type === Frame.GOAWAY);
    expect(session.goAwayCode).toBe(ENHANCE_YOUR_CALM);
    expect(held.map(({ isClosed }) => isClosed)).toEqual([false]);
    held[0]?.respond(200, {}, false);
    held[0]?.end(Buffer.from("done"));
    expect((await session.until(isEndOf(1)))?.payload.toString()).toBe("done");
    await session.closed();
  });

  test.for([
    ["all calls of a connection canceled at once", DEFAULT_HTTP2_LIMITS],
    ["as many canceled calls as 30 seconds allow, where fewer may be open", { streamsPerConnectionMax: 100 }],
  ] as const)("%s", async ([, limits], { peers }) => {
    const { streamsPerConnectionMax } = limits;
    const calls = Math.max(30 * DEFAULT_HTTP2_LIMITS.streamResetsPerSecondMax, streamsPerConnectionMax);
    const session = await peers.connect(await peers.start(ignore, { ...limits }));
    for (let first = 0; first < calls; first += streamsPerConnectionMax) {
      const ids = Array.from({ length: Math.min(streamsPerConnectionMax, calls - first) }, (_, index) =>
        idOf(first + index),
      );
      for (const id of ids) session.write(open(id));
      for (const id of ids) session.write(frame(Frame.RST_STREAM, 0, id, uint32(CANCEL)));
    }
    expect(await session.roundTrip()).toBe(true);
  });

  test.for<[string, Uint8Array]>([
    ["PING", PING],
    ["WINDOW_UPDATE", frame(Frame.WINDOW_UPDATE, 0, 0, uint32(1))],
  ])("20,000 %s frames, as bandwidth estimation sends them", async ([, one], { peers }) => {
    const session = await peers.connect(await peers.start(ignore));
    expect(await flood(session, 20_000, () => [one])).toBe(20_000);
    expect(await session.roundTrip()).toBe(true);
  });
});

describe("an HPACK bomb is refused:", () => {
  test("references to a large entry count with their size (CVE-2016-6581)", async ({ peers }) => {
    const session = await peers.connect(await peers.start(respondWith(1)));
    const value = "v".repeat(3_900);
    // Literal with indexing (RFC 7541 section 6.2.1): the name "a", the value with its length as 127 + 3773.
    const entry = literal([0x40, 1, 0x61, 0x7f, 0xbd, 0x1d], value);
    const bomb = Buffer.concat([head(), entry, Buffer.alloc(8_000, 0xbe)]);
    session.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, bomb));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(ENHANCE_YOUR_CALM);
    session.write(request(3));
    expect(await session.until(isEndOf(3))).toBeDefined();
  });
});

describe("windows:", () => {
  test("a connection window overflow is a connection error", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore));
    session.write(frame(Frame.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)));
    await session.closed();
    expect(session.goAwayCode).toBe(FLOW_CONTROL_ERROR);
  });

  test("a stream window overflow by SETTINGS is a connection error", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore));
    session.write(open(1), frame(Frame.WINDOW_UPDATE, 0, 1, uint32(2 ** 31 - 1 - 65_535)));
    session.write(frame(Frame.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 65_536)));
    await session.closed();
    expect(session.goAwayCode).toBe(FLOW_CONTROL_ERROR);
  });

  test("a body beyond the stream window is a stream error", async ({ peers }) => {
    const server = await peers.start((stream) => {
      ignore(stream);
      stream.consumesOnReceipt = false;
    });
    const session = await peers.connect(server);
    session.write(open(1), ...body(1, MEBIBYTE + 16_384));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(FLOW_CONTROL_ERROR);
    expect(await session.roundTrip()).toBe(true);
  });

  test("bodies beyond the connection window are a connection error", async ({ peers }) => {
    const server = await peers.start((stream) => {
      ignore(stream);
      stream.consumesOnReceipt = false;
    });
    const session = await peers.connect(server);
    for (let index = 0; index < 9; index++) session.write(open(idOf(index)), ...body(idOf(index), MEBIBYTE));
    await session.closed();
    expect(session.goAwayCode).toBe(FLOW_CONTROL_ERROR);
  });
});

describe("what a client makes the server hold is limited:", () => {
  test("a stream that exceeds the incomplete bodies is refused, the others go on", async ({ peers }) => {
    const server = await peers.start(respondWith(1), { incompleteRequestBytesMax: MEBIBYTE });
    const session = await peers.connect(server);
    session.write(open(1), ...body(1, MEBIBYTE / 2), open(3), ...body(3, MEBIBYTE));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 3)))).toBe(REFUSED_STREAM);
    session.write(end(1));
    expect(await session.until(isOf(Frame.DATA, 1))).toBeDefined();
    // The head counts too.
    session.write(open(5), ...body(5, MEBIBYTE / 2), ...body(5, MEBIBYTE / 4), end(5));
    expect(await session.until(isOf(Frame.DATA, 5))).toBeDefined();
  });

  test("streams are refused while responses are not read (zero window, CVE-2019-9517)", async ({ peers }) => {
    const server = await peers.start(respondWith(400_000), { unsentResponseBytesMax: MEBIBYTE });
    const session = await peers.connect(server, setting(INITIAL_WINDOW_SIZE, 0));
    for (const id of [1, 3, 5, 7]) session.write(request(id));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 7)))).toBe(REFUSED_STREAM);
    session.write(
      frame(Frame.WINDOW_UPDATE, 0, 0, uint32(MEBIBYTE)),
      frame(Frame.WINDOW_UPDATE, 0, 1, uint32(400_000)),
    );
    await session.until(isEndOf(1));
    session.write(request(9));
    expect(await session.until(isOf(Frame.HEADERS, 9))).toBeDefined();
  });

  test("responses beyond the limit are reset, though all streams were open before", async ({ peers }) => {
    const server = await peers.start(respondWith(100_000), { unsentResponseBytesMax: MEBIBYTE });
    const session = await peers.connect(server, setting(INITIAL_WINDOW_SIZE, 0));
    session.write(...Array.from({ length: 100 }, (_, index) => open(idOf(index))));
    session.write(...Array.from({ length: 100 }, (_, index) => end(idOf(index))));
    await session.roundTrip();
    const resets = session.received.filter(({ type }) => type === Frame.RST_STREAM);
    expect(resets.length).toBe(90);
    expect(new Set(resets.map(codeOf))).toEqual(new Set([ENHANCE_YOUR_CALM]));
  });

  test("the connection with the most bytes pays for what all hold too much", async ({ peers }) => {
    const incompleteRequests = new ByteBudget(MEBIBYTE);
    const unsentResponses = new ByteBudget(MEBIBYTE);
    const server = await peers.start(respondWith(300_000), {}, { incompleteRequests, unsentResponses });
    const sessions = await Promise.all(
      [0, 1].map(() => peers.connect(server, setting(INITIAL_WINDOW_SIZE, 0))),
    );
    const [greedy, modest] = sessions;
    if (greedy === undefined || modest === undefined) throw new Error("unreachable");
    greedy.write(open(1), ...body(1, MEBIBYTE));
    await greedy.roundTrip();
    modest.write(open(1), ...body(1, 16_384));
    expect(codeOf(await greedy.until(isOf(Frame.RST_STREAM, 1)))).toBe(REFUSED_STREAM);
    modest.write(end(1));
    expect(await modest.until(isOf(Frame.HEADERS, 1))).toBeDefined();
    for (const id of [3, 5, 7]) greedy.write(request(id));
    await greedy.until(({ type, streamId }) => type === Frame.RST_STREAM && streamId > 1);
    expect(unsentResponses.bytes).toBeLessThanOrEqual(MEBIBYTE);
    for (const session of sessions) session.close();
    await expect.poll(() => [incompleteRequests.bytes, unsentResponses.bytes]).toEqual([0, 0]);
    expect(modest.received.filter(isOf(Frame.RST_STREAM, 1))).toEqual([]);
  });

  test("a body that follows an early response is dropped, and its window given back", async ({ peers }) => {
    const session = await peers.connect(await peers.start((stream) => stream.respond(413, {}, true)));
    for (let index = 0; index < 20; index++) {
      const id = idOf(index);
      session.write(open(id), ...body(id, MEBIBYTE), end(id));
      expect(await session.until(isOf(Frame.HEADERS, id))).toBeDefined();
    }
    expect(await session.roundTrip()).toBe(true);
    expect(session.received.filter(({ type }) => type === Frame.RST_STREAM)).toEqual([]);
  });

  test("a body that follows an early response for long ends with its stream", async ({ peers }) => {
    const session = await peers.connect(await peers.start((stream) => stream.respond(413, {}, true)));
    session.write(open(1));
    const isReset = isOf(Frame.RST_STREAM, 1);
    while (!session.received.some(isReset)) {
      session.write(...body(1, MEBIBYTE));
      await session.roundTrip();
    }
    expect(codeOf(session.received.find(isReset))).toBe(0);
  });
});

/** Clients that are slow, stalled or gone. The tests wait for the server's timeouts, which are short here. */
import { connect, type Socket } from "node:net";
import { describe, expect } from "vitest";
import { codeOf, head, INITIAL_WINDOW_SIZE, isOf, open, request } from "./frames.js";
import { ignore, respondWith, test } from "./fixture.js";
import { ACK, CANCEL, Frame, frame, PREFACE, type ReceivedFrame, setting, uint32 } from "./raw-session.js";

/** Resolves when a socket closes, also after an error. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once("close", () => resolve()));

/** Acts every few milliseconds until the promise resolves. */
async function meanwhile(until: Promise<unknown>, act: () => void): Promise<void> {
  const timer = setInterval(act, 20);
  await until;
  clearInterval(timer);
}

describe("a connection is closed", () => {
  test("whose preface never comes", async ({ peers }) => {
    const { port } = await peers.start(ignore, { headersTimeoutMs: 200 });
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    await closed(socket);
  });

  test("whose preface comes byte by byte", async ({ peers }) => {
    const { port } = await peers.start(ignore, { headersTimeoutMs: 200 });
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    let sent = 0;
    await meanwhile(closed(socket), () => socket.write(PREFACE.subarray(sent, ++sent % PREFACE.length)));
  });

  test("whose header block never ends", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore, { headersTimeoutMs: 200 }));
    session.write(frame(Frame.HEADERS, 0, 1, head()));
    await session.closed();
  });

  test("that has no streams, after a GOAWAY", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore, { idleTimeoutMs: 200 }));
    await session.closed();
    expect(session.goAwayCode).toBe(0);
  });

  test("whose client answers no ping and sends nothing else", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore, { pingIntervalMs: 100 }));
    session.write(open(1));
    await session.closed();
  });
});

test("a connection stays open whose client answers no ping but sends other frames", async ({ peers }) => {
  const session = await peers.connect(await peers.start(ignore, { pingIntervalMs: 100 }));
  session.write(open(1));
  const isPing = ({ type, flags }: ReceivedFrame): boolean => type === Frame.PING && flags !== ACK;
  const fivePings = session.until(() => session.received.filter(isPing).length >= 5);
  await meanwhile(Promise.race([fivePings, session.closed()]), () =>
    session.write(frame(Frame.WINDOW_UPDATE, 0, 0, uint32(1))),
  );
  expect(session.isClosed).toBe(false);
});

describe("a stream is reset, and its connection stays open,", () => {
  test("whose request never ends", async ({ peers }) => {
    const session = await peers.connect(await peers.start(ignore, { requestTimeoutMs: 200 }));
    session.write(open(1), frame(Frame.DATA, 0, 1, Buffer.from("x")));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(CANCEL);
    expect(await session.roundTrip()).toBe(true);
  });

  test("whose response is not read", async ({ peers }) => {
    const server = await peers.start(respondWith(400_000), { answerTimeoutMs: 200 });
    const session = await peers.connect(server, setting(INITIAL_WINDOW_SIZE, 0));
    session.write(request(1));
    expect(codeOf(await session.until(isOf(Frame.RST_STREAM, 1)))).toBe(CANCEL);
    expect(await session.roundTrip()).toBe(true);
  });

  test("whose response is read a byte at a time (data dribble, CVE-2019-9511)", async ({ peers }) => {
    const server = await peers.start(respondWith(400_000), { answerTimeoutMs: 300 });
    const session = await peers.connect(server, setting(INITIAL_WINDOW_SIZE, 0));
    session.write(request(1));
    const reset = session.until(isOf(Frame.RST_STREAM, 1));
    await meanwhile(reset, () => session.write(frame(Frame.WINDOW_UPDATE, 0, 1, uint32(1))));
    expect(codeOf(await reset)).toBe(CANCEL);
  });
});

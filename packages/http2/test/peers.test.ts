/** Bodies and headers between our server and Node's own client, an implementation that is not ours: everything arrives, whatever the windows. */
import fc from "fast-check";
import { EventEmitter, once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import { type EchoServer, echo, startEcho } from "./echo.js";

let server: EchoServer | undefined;
const sessions: ClientHttp2Session[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await server?.stop();
});

function open(url: string, settings: object = {}): ClientHttp2Session {
  const session = connect(url, { settings, maxSessionMemory: 100 });
  sessions.push(session);
  return session;
}

interface Answer {
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: Buffer;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const chunks: Buffer[] = [];
  let headers: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  stream.on("response", (fields: Record<string, unknown>) => (headers = fields));
  stream.on("trailers", (fields: Record<string, unknown>) => (trailers = fields));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(stream, "end");
  return { headers, trailers, body: Buffer.concat(chunks) };
}

function send(
  session: ClientHttp2Session,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const stream = session.request({ ":method": "POST", ":path": "/", ...headers });
  stream.end(body);
  return answerOf(stream);
}

/** Bytes that tell where they belong. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + seed * 17 + (index >> 8)) & 0xff;
  return bytes;
}

describe("bodies", () => {
  it("come back whole from many streams at once, whatever the client's windows are", async () => {
    const { url } = (server = await startEcho());
    const sizes = fc.array(fc.oneof(fc.nat(100), fc.nat(70_000), fc.nat(400_000)), {
      minLength: 1,
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.constantFrom(1, 100, 16_384, 65_535, 1_000_000), async (lengths, window) => {
        const session = open(url, { initialWindowSize: window });
        // A window of a byte makes a frame of each.
        const bodies = lengths.map((length, seed) => pattern(window === 1 ? length % 2_000 : length, seed));
        const answers = await Promise.all(bodies.map((body) => send(session, body)));
        answers.forEach(({ body, trailers }, index) => {
          expect(body.equals(bodies[index] ?? Buffer.alloc(0))).toBe(true);
          expect(trailers).toMatchObject({ "echo-end": "1" });
        });
        session.destroy();
      }),
      { numRuns: 40 },
    );
  });

  it("of several connections at once are not mixed up", async () => {
    const { url } = (server = await startEcho());
    const answers = Array.from({ length: 20 }, async (_, connection) => {
      const session = open(url);
      for (let turn = 0; turn < 10; turn++) {
        const bodies = Array.from({ length: 5 }, (_body, index) =>
          pattern(index * 700 + turn, connection + index),
        );
        const headers = { "x-connection": String(connection) };
        const echoes = await Promise.all(bodies.map((body) => send(session, body, headers)));
        echoes.forEach((echoed, index) => {
          expect(echoed.body.equals(bodies[index] ?? Buffer.alloc(0))).toBe(true);
          expect(echoed.headers["echo-x-connection"]).toBe(String(connection));
        });
      }
    });
    await Promise.all(answers);
  });

  it("of 20 MB come back whole on one stream", async () => {
    const { url } = (server = await startEcho());
    const body = pattern(20_000_000, 1);
    expect((await send(open(url), body)).body.equals(body)).toBe(true);
  });

  it("wait for the one who reads them, and leave the others alone", async () => {
    const { url } = (server = await startEcho());
    const session = open(url, { initialWindowSize: 100_000 });
    const slow = session.request({ ":method": "POST", ":path": "/" });
    const body = pattern(5_000_000, 1);
    slow.end(body);
    for (let turn = 0; turn < 20; turn++) {
      expect((await send(session, Buffer.from("quick"))).body.toString()).toBe("quick");
    }
    expect((await answerOf(slow)).body.equals(body)).toBe(true);
  });

  it("go on when the client changes its windows in the middle", async () => {
    const { url } = (server = await startEcho());
    const session = open(url, { initialWindowSize: 200_000 });
    const body = pattern(3_000_000, 1);
    const answer = send(session, body);
    for (const initialWindowSize of [10, 1_000_000, 0, 500_000]) {
      await new Promise<void>((resolve, reject) =>
        session.settings({ initialWindowSize }, (error) => (error === null ? resolve() : reject(error))),
      );
    }
    expect((await answer).body.equals(body)).toBe(true);
  });

  it("may be dropped by the handler; the connection's window is given back all the same", async () => {
    const { url } = (server = await startEcho((stream) => {
      if (stream.headers[":path"] === "/") echo(stream);
      else stream.respond(413, {}, true);
    }));
    const session = open(url);
    for (let turn = 0; turn < 30; turn++) {
      const refused = session.request({ ":method": "POST", ":path": "/refused" });
      refused.on("error", () => undefined);
      refused.end(pattern(1_000_000, turn));
      expect((await answerOf(refused)).headers[":status"]).toBe(413);
    }
    const body = pattern(10_000_000, 1);
    expect((await send(session, body)).body.equals(body)).toBe(true);
  });
});

describe("headers", () => {
  it("come back as they were sent, also when they come again", async () => {
    const { url } = (server = await startEcho());
    const names = fc.stringMatching(/^x-[a-z0-9-]{1,12}$/);
    const values = fc.stringMatching(
      /^[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]{0,60}[\x21-\x7e\x80-\xff])?$/,
    );
    const requests = fc.array(fc.dictionary(names, values, { maxKeys: 8 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(requests, fc.constantFrom(4_096, 0, 65_536), async (all, headerTableSize) => {
        const session = open(url, { headerTableSize });
        for (const headers of [...all, ...all]) {
          const answer = await send(session, Buffer.alloc(0), headers);
          for (const [name, value] of Object.entries(headers)) {
            // Node's client reads Latin-1 as UTF-8 where it can.
            expect(answer.headers[`echo-${name}`]).toEqual(value);
          }
        }
        session.destroy();
      }),
      { numRuns: 60 },
    );
  });

  it("of more than a frame are sent and read", async () => {
    const { url } = (server = await startEcho());
    const long = { "x-a": "a".repeat(9_000), "x-b": "b".repeat(9_000) };
    const session = connect(url, { maxHeaderListPairs: 200 });
    sessions.push(session);
    const { headers } = await send(session, Buffer.from("body"), long);
    expect([headers["echo-x-a"], headers["echo-x-b"]]).toEqual([long["x-a"], long["x-b"]]);
  });
});

describe("a connection", () => {
  it("ends by itself when its handler fails, and takes no other one with it", async () => {
    const fault = new Error("a fault");
    const { url } = (server = await startEcho((stream) => {
      if (stream.headers[":path"] === "/") {
        echo(stream);
        return;
      }
      stream.listener = {
        receive() {
          throw fault;
        },
        received: () => undefined,
        abandon: () => undefined,
      };
    }));
    const [good, bad] = [open(url), open(url)];
    expect((await send(good, Buffer.from("before"))).body.toString()).toBe("before");
    const stream = bad.request({ ":method": "POST", ":path": "/bad" });
    stream.on("error", () => undefined);
    bad.on("error", () => undefined);
    const closed = once(bad, "close");
    stream.end("body");
    await closed;
    expect(server.faults).toEqual([fault]);
    expect((await send(good, Buffer.from("after"))).body.toString()).toBe("after");
  });

  it("that is to leave answers what is under way, and is closed then", async () => {
    let finish = (): void => expect.unreachable();
    const { url } = (server = await startEcho((stream) => {
      finish = () => {
        stream.respond(200, {}, false);
        stream.end(Buffer.from("at last"));
      };
    }));
    const session = open(url);
    const answer = answerOf(session.request({ ":path": "/" }));
    await once(session, "remoteSettings");
    const asked = once(session, "goaway");
    const closed = once(session, "close");
    server.closeGracefully();
    expect((await asked).slice(0, 2)).toEqual([0, 2 ** 31 - 1]);
    finish();
    expect((await answer).body.toString()).toBe("at last");
    await closed;
  });
});

describe("a stream", () => {
  it("that the client resets reports it once, and what is written then is dropped", async () => {
    const told: string[] = [];
    let writeLate = (): void => expect.unreachable();
    const happened = new EventEmitter();
    const { url } = (server = await startEcho((stream) => {
      stream.respond(200, {}, false);
      stream.listener = {
        receive: () => undefined,
        received: () => told.push("received"),
        abandon: () => told.push("abandoned"),
        over: () => {
          told.push("over");
          happened.emit("over");
        },
      };
      writeLate = () => {
        stream.write(Buffer.from("late"));
        stream.end();
        stream.reset(2);
      };
    }));
    const session = open(url);
    const stream = session.request({ ":method": "POST", ":path": "/" });
    stream.on("error", () => undefined);
    await once(stream, "response");
    const over = once(happened, "over");
    stream.close(8);
    await over;
    writeLate();
    // Node ends the request first.
    expect(told.filter((one) => one !== "received")).toEqual(["abandoned", "over"]);
  });

  it("is told that there is room when what it wrote was taken", async () => {
    let pieces = 0;
    const { url } = (server = await startEcho((stream) => {
      const fill = (): void => {
        while (!stream.isFull && pieces < 1_000) {
          stream.write(pattern(10_000, 1));
          pieces++;
        }
        if (pieces === 1_000) stream.end();
      };
      stream.respond(200, {}, false);
      stream.listener = {
        receive: () => undefined,
        received: () => undefined,
        abandon: () => undefined,
        drain: fill,
      };
      fill();
    }));
    const stream = open(url, { initialWindowSize: 65_535 }).request({ ":path": "/" });
    stream.pause();
    await once(stream, "response");
    expect(pieces).toBeLessThan(100);
    const answer = answerOf(stream);
    stream.resume();
    expect((await answer).body.length).toBe(10_000_000);
  });
});

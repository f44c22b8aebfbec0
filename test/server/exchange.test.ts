/** What protocol handlers rely on, over each transport that implements `Exchange`. */
import { request as requestHttp1 } from "node:http";
import { connect as connectHttp2, constants } from "node:http2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { type Listener, listen } from "../../src/listener/listener.js";
import type { Exchange } from "../../src/protocol/exchange.js";

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
}

interface ClientRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Record<string, string> | undefined;
  readonly body?: string | undefined;
  /** Called when `100 Continue` arrives. */
  readonly onContinue?: (() => void) | undefined;
}

interface ClientCall {
  /** The status, when the head has arrived. */
  readonly head: Promise<number>;
  /** Rejects if the response is cut. */
  readonly answer: Promise<Answer>;
  cancel(): void;
}

interface Transport {
  readonly name: string;
  readonly httpVersion: "1.1" | "2.0";
  readonly http2?: "own" | "node";
  /** Whether the listener's parser of simple HTTP/1.1 requests takes them. */
  readonly isFast?: boolean;
}

const TRANSPORTS: readonly Transport[] = [
  { name: "our HTTP/2", httpVersion: "2.0", http2: "own" },
  { name: "Node's HTTP/2", httpVersion: "2.0", http2: "node" },
  { name: "Node's HTTP/1.1", httpVersion: "1.1" },
  { name: "the fast HTTP/1.1", httpVersion: "1.1", isFast: true },
];

describe.each(TRANSPORTS)("an exchange over $name", ({ httpVersion, http2, isFast }) => {
  let listener: Listener;
  /** Receives each request. Set by each test. */
  let handle: (exchange: Exchange) => void = (exchange) => exchange.respond(500, {});
  const faults: unknown[] = [];
  let simpleCount = 0;

  beforeAll(async () => {
    listener = await listen({
      host: "127.0.0.1",
      port: 0,
      limits: DEFAULT_LIMITS,
      tls: undefined,
      http2,
      onFault: (error) => faults.push(error),
      handler: {
        handle: (exchange) => handle(exchange),
        ...(isFast === true
          ? {
              handleSimple(exchange) {
                simpleCount++;
                handle(exchange);
                return true;
              },
            }
          : {}),
        handleUpgrade: ({ socket }) => socket.destroy(),
      },
    });
  });
  afterAll(() => listener.drain(0));

  const send = (request: ClientRequest): ClientCall =>
    httpVersion === "2.0" ? sendHttp2(listener.port, request) : sendHttp1(listener.port, request);
  const get = (path = "/", headers?: Record<string, string>): ClientCall =>
    send({ method: "GET", path, headers });
  const post = (body: string): ClientCall => send({ method: "POST", path: "/", body });

  it("tells what was requested", async () => {
    let seen: Exchange | undefined;
    handle = (exchange) => {
      seen = exchange;
      exchange.respond(200, {});
    };
    const before = simpleCount;
    await get("/a?b=c", { "x-test": "one" }).answer;
    expect(simpleCount - before).toBe(isFast === true ? 1 : 0);
    expect(seen?.httpVersion).toBe(httpVersion);
    expect(seen?.method).toBe("GET");
    expect(seen?.target).toBe("/a?b=c");
    expect(seen?.headers["x-test"]).toBe("one");
    expect(seen?.authority).toBe(`127.0.0.1:${listener.port}`);
    expect(seen?.hasBody).toBe(false);
    expect(seen?.expectsContinue).toBe(false);
    expect(seen?.commonFields).toEqual({});
  });

  it.each([false, true])("reads a body; paced: %s", async (isPaced) => {
    const body = "0123456789".repeat(isFast === true ? 100 : 50_000);
    handle = (exchange) => {
      const chunks: Buffer[] = [];
      expect(exchange.hasBody).toBe(true);
      const receive = (chunk: Buffer): void => {
        chunks.push(chunk);
        setImmediate(() => exchange.resumeBody());
      };
      const received = (): void => exchange.respond(200, {}, String(Buffer.concat(chunks).length));
      exchange.read({ receive, received }, isPaced);
      exchange.resumeBody();
    };
    expect((await post(body).answer).body).toBe(String(body.length));
  });

  it("reports the end of a body that is absent", async () => {
    handle = (exchange) =>
      exchange.read({
        receive: () => exchange.respond(500, {}),
        received: () => exchange.respond(200, {}, "none"),
      });
    expect((await get().answer).body).toBe("none");
  });

  it("responds before it has read the body", async () => {
    handle = (exchange) => exchange.respond(413, {}, "too long");
    const answer = await post("0123456789".repeat(100)).answer;
    expect([answer.status, answer.body]).toEqual([413, "too long"]);
    handle = (exchange) => exchange.respond(200, {}, "next");
    expect((await get().answer).body).toBe("next");
  });

  it.each([
    ["text", "größer", "größer"],
    ["bytes", Buffer.from("bytes"), "bytes"],
    ["many bytes", Buffer.alloc(100_000, "x"), "x".repeat(100_000)],
    ["empty text", "", ""],
    ["no bytes", new Uint8Array(0), ""],
    ["nothing", undefined, ""],
  ])("responds with %s", async (_, body, expected) => {
    handle = (exchange) => {
      expect(exchange.hasResponded).toBe(false);
      exchange.respond(201, { "x-field": "a, b" }, body);
      expect(exchange.hasResponded).toBe(true);
    };
    const answer = await get().answer;
    expect([answer.status, answer.headers["x-field"], answer.body]).toEqual([201, "a, b", expected]);
  });

  it.each([204, 304])("has no content with the status %i", async (status) => {
    handle = (exchange) => exchange.respond(status, {});
    const answer = await get().answer;
    expect([answer.status, answer.body]).toEqual([status, ""]);
    expect(answer.headers["content-length"]).toBeUndefined();
  });

  it("has no content in response to HEAD, complete or in pieces", async () => {
    handle = (exchange) => exchange.respond(200, { "content-length": "5" }, "12345");
    const complete = await send({ method: "HEAD", path: "/" }).answer;
    expect([complete.status, complete.headers["content-length"], complete.body]).toEqual([200, "5", ""]);
    handle = (exchange) => {
      exchange.start(200, {});
      exchange.write(["12345"]);
      exchange.end();
    };
    const pieces = await send({ method: "HEAD", path: "/" }).answer;
    expect([pieces.status, pieces.body]).toEqual([200, ""]);
  });

  it("sends a body in pieces, empty ones too", async () => {
    handle = (exchange) => {
      exchange.start(200, { "content-type": "text/plain" });
      expect(exchange.hasResponded).toBe(true);
      exchange.write(["ä", new Uint8Array(0), Buffer.from("b")]);
      exchange.write([""]);
      exchange.write(["c"]);
      exchange.end("d");
    };
    const answer = await get().answer;
    expect([answer.headers["content-type"], answer.body]).toEqual(["text/plain", "äbcd"]);
  });

  it("sends the head before the first piece", async () => {
    let exchange: Exchange | undefined;
    handle = (received) => {
      exchange = received;
      received.start(200, {});
    };
    const call = get();
    expect(await call.head).toBe(200);
    exchange?.end("rest");
    expect((await call.answer).body).toBe("rest");
  });

  it("refuses an invalid field and has sent nothing", async () => {
    for (const begin of [
      (exchange: Exchange, fields: Record<string, string>) => exchange.respond(200, fields, "x"),
      (exchange: Exchange, fields: Record<string, string>) => exchange.start(200, fields),
    ]) {
      handle = (exchange) => {
        expect(() => begin(exchange, { "x-field": "a\r\nb: c" })).toThrow(TypeError);
        expect(exchange.hasResponded).toBe(false);
        exchange.respond(500, {}, "refused");
      };
      const answer = await get().answer;
      expect([answer.status, answer.body, answer.headers.b]).toEqual([500, "refused", undefined]);
    }
  });

  it("responds once", async () => {
    handle = (exchange) => {
      exchange.respond(200, {}, "first");
      exchange.respond(500, {}, "second");
      exchange.start(500, {});
      exchange.end("third");
    };
    const answer = await get().answer;
    expect([answer.status, answer.body]).toEqual([200, "first"]);
    handle = (exchange) => exchange.respond(200, {}, "next");
    expect((await get().answer).body).toBe("next");
  });

  it("cuts a response, so that it is not taken for complete", async () => {
    handle = (exchange) => {
      exchange.start(200, {});
      exchange.write(["half"]);
      setImmediate(() => exchange.reset());
    };
    await expect(get().answer).rejects.toThrow();
  });

  it("is not abandoned by a client that received the response", async () => {
    let abandoned = 0;
    const closed = new Promise<Exchange>((resolve) => {
      handle = (exchange) => {
        exchange.onAbandoned(() => abandoned++);
        exchange.respond(200, {}, "x");
        resolve(exchange);
      };
    });
    await get().answer;
    const exchange = await closed;
    await expect.poll(() => exchange.isClosed).toBe(true);
    exchange.onAbandoned(() => abandoned++);
    expect(abandoned).toBe(0);
  });

  it.each(["before", "in the middle of"])(
    "is abandoned by a client that leaves %s the response",
    async (when) => {
      let exchange: Exchange | undefined;
      const arrived = new Promise<void>((resolve) => {
        handle = (received) => {
          exchange = received;
          if (when !== "before") received.start(200, {});
          resolve();
        };
      });
      const call = get();
      call.answer.catch(() => undefined);
      await arrived;
      const abandoned = new Promise<void>((resolve) => exchange?.onAbandoned(resolve));
      expect(exchange?.isClosed).toBe(false);
      call.cancel();
      await abandoned;
      await expect.poll(() => exchange?.isClosed).toBe(true);
      // Registered late, called at once.
      let isCalled = false;
      exchange?.onAbandoned(() => (isCalled = true));
      expect(isCalled).toBe(true);
      // Nothing of what follows has an effect.
      exchange?.respond(200, {}, "late");
      exchange?.write(["late"]);
      exchange?.end("late");
      exchange?.reset();
    },
  );

  it("tells when it is full and when it has drained", async () => {
    const chunk = Buffer.alloc(65_536, "x");
    let written = 0;
    handle = (exchange) => {
      exchange.start(200, {});
      const fill = (): void => {
        while (written < 200 && !exchange.isFull) {
          exchange.write([chunk]);
          written++;
        }
        if (written === 200) exchange.end();
        else exchange.onDrained(fill);
      };
      fill();
      expect(written).toBeLessThan(200);
    };
    expect((await get().answer).body.length).toBe(200 * chunk.length);
  });

  it("asks a waiting client for its body", async () => {
    handle = (exchange) => {
      expect(exchange.expectsContinue).toBe(true);
      const chunks: Buffer[] = [];
      exchange.read({
        receive: (chunk) => chunks.push(chunk),
        received: () => exchange.respond(200, {}, Buffer.concat(chunks)),
      });
      exchange.sendContinue();
    };
    let continued = 0;
    const { answer } = send({
      method: "POST",
      path: "/",
      headers: { expect: "100-continue", "content-length": "4" },
      body: "body",
      onContinue: () => continued++,
    });
    expect((await answer).body).toBe("body");
    expect(continued).toBe(1);
  });

  it.runIf(httpVersion === "2.0")("sends trailers, with and without a body", async () => {
    handle = (exchange) => exchange.respond(200, {}, "x", { "x-trailer": "one" });
    expect((await get().answer).trailers).toMatchObject({ "x-trailer": "one" });
    handle = (exchange) => exchange.respond(200, {}, undefined, { "x-trailer": "two" });
    expect((await get().answer).trailers).toMatchObject({ "x-trailer": "two" });
    handle = (exchange) => {
      exchange.start(200, {});
      exchange.end("x", { "x-trailer": "three" });
    };
    expect((await get().answer).trailers).toMatchObject({ "x-trailer": "three" });
  });

  it("has reported no exception", () => {
    expect(faults).toEqual([]);
  });
});

function sendHttp1(port: number, { method, path, headers, body, onContinue }: ClientRequest): ClientCall {
  const request = requestHttp1({
    host: "127.0.0.1",
    port,
    method,
    path,
    headers: headers ?? {},
    agent: false,
  });
  // An agent's "close" would not be a simple request.
  request.shouldKeepAlive = true;
  const head = new Promise<number>((resolve) => {
    request.on("response", (response) => resolve(response.statusCode ?? 0));
  });
  const answer = new Promise<Answer>((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode: status = 0, trailers } = response;
        resolve({ status, headers: response.headers, body: Buffer.concat(chunks).toString(), trailers });
        request.destroy();
      });
    });
  });
  if (onContinue === undefined) request.end(body);
  else {
    request.on("continue", () => {
      onContinue();
      request.end(body);
    });
    request.flushHeaders();
  }
  return { head, answer, cancel: () => request.destroy() };
}

function sendHttp2(port: number, { method, path, headers, body, onContinue }: ClientRequest): ClientCall {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  const isLast = body === undefined;
  const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream: isLast });
  const head = new Promise<number>((resolve) => {
    stream.on("response", (fields) => resolve(Number(fields[":status"])));
  });
  const answer = new Promise<Answer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let fields: Record<string, unknown> = {};
    let trailers: Record<string, unknown> = {};
    let isEnded = false;
    stream.on("response", (received: Record<string, unknown>) => (fields = received));
    stream.on("trailers", (received: Record<string, unknown>) => (trailers = received));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => (isEnded = true));
    stream.on("error", reject);
    stream.on("close", () => {
      session.close();
      const isCut = stream.rstCode !== constants.NGHTTP2_NO_ERROR || !isEnded;
      if (isCut) reject(new Error("The stream was reset."));
      const status = Number(fields[":status"]);
      resolve({ status, headers: fields, body: Buffer.concat(chunks).toString(), trailers });
    });
  });
  if (!isLast && onContinue === undefined) stream.end(body);
  else if (onContinue !== undefined) {
    stream.on("continue", () => {
      onContinue();
      stream.end(body);
    });
  }
  return { head, answer, cancel: () => stream.close(constants.NGHTTP2_CANCEL) };
}

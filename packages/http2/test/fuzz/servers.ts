/** Our server and Node's, with one handler, on byte streams in memory: cases do not depend on the network. */
import { createServer, type ServerHttp2Stream } from "node:http2";
import { Duplex } from "node:stream";
import { DEFAULT_HTTP2_LIMITS } from "../../src/limits.js";
import { Http2Server } from "../../src/server.js";
import type { RequestStream } from "../../src/stream.js";
import { ACK, Frame, frame, PREFACE } from "../raw-session.js";
import { Outcome } from "./outcome.js";

/** Turns of the event loop in which a server must have handled its input. */
const TURNS_MAX = 300;
/** Turns that a case lasts after its last frame was handled. */
const TURNS_AFTER = 8;
const BODY_BYTES_MAX = 100_000;
const LAST_PING = Buffer.from("fuzzcase");

/** One end of a connection in memory. */
class End extends Duplex {
  other: End | undefined;
  override _read(): void {
    return;
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.other?.push(chunk);
    done();
  }
  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }
}

export interface Target {
  accept(connection: Duplex): void;
  /** What went wrong in the server itself. */
  readonly problems: string[];
  stop(): void;
}

/** The response depends on the whole request. Its size, and whether it has trailers, are the client's choice. */
interface Answer {
  readonly fields: Record<string, string>;
  readonly body: Buffer;
  readonly trailers: Record<string, string> | undefined;
}
function answerTo(headers: Readonly<Record<string, unknown>>, bodyBytes: number, sum: number): Answer {
  // Mutated requests ask for anything.
  const wanted = Number(headers["x-size"]);
  const size =
    headers[":method"] !== "HEAD" && wanted > 0 && wanted <= BODY_BYTES_MAX ? Math.floor(wanted) : 0;
  return {
    fields: {
      "content-type": "text/plain",
      "x-request": `${bodyBytes} ${sum} ${String(headers[":method"])}`,
    },
    body: Buffer.alloc(size, "x"),
    trailers: headers["x-trailers"] === "1" ? { "x-end": "1" } : undefined,
  };
}
const sumOf = (chunk: Buffer): number => chunk.reduce((sum, byte) => sum + byte, 0);

export function startOurs(): Target {
  const problems: string[] = [];
  const open = new Set<RequestStream>();
  const server = new Http2Server({
    limits: { ...DEFAULT_HTTP2_LIMITS, streamsPerConnectionMax: 100 },
    onFault: (fault) => problems.push(String(fault)),
    onStream(stream) {
      open.add(stream);
      let bytes = 0;
      let sum = 0;
      const received = (): void => {
        const { fields, body, trailers } = answerTo(stream.headers, bytes, sum);
        stream.respond(200, fields, stream.headers[":method"] === "HEAD");
        stream.end(body, trailers);
      };
      stream.listener = {
        receive(chunk) {
          bytes += chunk.length;
          sum += sumOf(chunk);
        },
        received,
        abandon: () => undefined,
        over() {
          if (!open.delete(stream)) problems.push(`The stream ${stream.id} was over twice.`);
        },
      };
      if (stream.isRequestComplete) received();
    },
  });
  return {
    problems,
    accept(connection) {
      connection.once("close", () =>
        setImmediate(() => {
          if (open.size > 0) problems.push(`${open.size} streams outlived their connection.`);
          open.clear();
        }),
      );
      server.accept(connection);
    },
    stop: () => server.stop(),
  };
}

export function startNodes(): Target {
  const server = createServer({ settings: { initialWindowSize: 1_048_576, maxConcurrentStreams: 100 } });
  server.on("sessionError", () => undefined);
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    let bytes = 0;
    let sum = 0;
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      sum += sumOf(chunk);
    });
    stream.on("end", () => {
      if (stream.destroyed || stream.closed) return;
      const { fields, body, trailers } = answerTo(headers, bytes, sum);
      const isHead = headers[":method"] === "HEAD";
      stream.respond(
        { ":status": 200, ...fields },
        { endStream: isHead, waitForTrailers: trailers !== undefined },
      );
      if (isHead) return;
      stream.on("wantTrailers", () => stream.sendTrailers(trailers ?? {}));
      stream.end(body);
    });
  });
  return {
    problems: [],
    accept: (connection) => void server.emit("connection", connection),
    stop: () => undefined,
  };
}

/** The highest stream that the frames can open. */
function openedMax(bytes: Buffer): number {
  let max = 0;
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    if (bytes[at + 3] === Frame.HEADERS) max = Math.max(max, bytes.readUInt32BE(at + 5) & 0x7fffffff);
  return max;
}

/** Whether the server ended the connection. Node's may do so without GOAWAY. */
export const hasFailed = (outcome: Outcome): boolean => outcome.isClosed || (outcome.goAwayCode ?? 0) > 0;

/** Sends the frames and returns what the server sent. Throws an Error if HTTP/2 does not allow that. */
export async function run(
  target: Target,
  frames: readonly Buffer[],
  isDone: (outcome: Outcome) => boolean = () => true,
): Promise<Outcome> {
  const [client, connection] = [new End(), new End()];
  [client.other, connection.other] = [connection, client];
  const bytes = Buffer.concat([...frames, frame(Frame.PING, 0, 0, LAST_PING)]);
  const outcome = new Outcome(openedMax(bytes));
  let problem: unknown;
  client.on("data", (chunk: Buffer) => {
    try {
      outcome.push(chunk);
    } catch (error) {
      problem ??= error;
    }
  });
  for (const end of [client, connection]) end.on("error", () => undefined);
  client.on("end", () => (outcome.isClosed = true));
  target.accept(connection);
  client.write(PREFACE);
  client.write(frame(Frame.SETTINGS, 0, 0));
  client.write(frame(Frame.SETTINGS, ACK, 0));
  client.write(bytes);
  const isHandled = (): boolean => outcome.pongs.has(LAST_PING.toString("hex")) || hasFailed(outcome);
  let left = TURNS_AFTER;
  for (let turn = 0; turn < TURNS_MAX && left > 0; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (isHandled() && (hasFailed(outcome) || isDone(outcome))) left--;
  }
  client.destroy();
  connection.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  if (problem instanceof Error) throw problem;
  return outcome;
}

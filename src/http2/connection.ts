/** One HTTP/2 connection of a client: its streams, its windows, its end. What comes in on it is read by `incoming.ts`. */
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import type { Limits } from "../kv/limits.js";
import { Budget } from "./budget.js";
import { ErrorCode, FrameType, INT31_MAX, WINDOW_BYTES } from "./codes.js";
import { Http2Violation } from "./violations.js";
import { FrameReader } from "./frame-reader.js";
import { Incoming } from "./incoming.js";
import { Sender } from "./sender.js";
import { CONNECTION_WINDOW_BYTES, ownSettings, STREAM_WINDOW_BYTES } from "./settings.js";
import { RequestStream, type StreamConnection } from "./stream.js";

export type ConnectionLimits = Pick<
  Limits,
  | "headerBytesMax"
  | "streamsPerConnectionMax"
  | "streamResetsPerSecondMax"
  | "unfinishedBytesMax"
  | "untakenBytesMax"
  | "headersTimeoutMs"
  | "requestTimeoutMs"
  | "answerTimeoutMs"
  | "pingIntervalMs"
  | "idleTimeoutMs"
>;

export interface ConnectionHandlers {
  /** Takes a request. */
  onStream(stream: RequestStream): void;
  onClosed(): void;
  /** Takes what a listener of a stream threw: a bug. */
  onFault(error: unknown): void;
}

/** Resets are counted over so many seconds: cancelling a few hundred calls at once is nothing unusual. */
const RESET_WINDOW_SECONDS = 30;
/** Answers to pings and settings that nobody takes, and the like: more of them end the connection. */
const UNTAKEN_BYTES_MAX = 1_048_576;
/** Of so many streams that we reset, at least, the client may still send frames for a while. */
const LATELY_RESET_MIN = 128;
/** How long a client may take to see that its connection was closed. */
const GOODBYE_MS = 1_000;

export class Connection implements StreamConnection {
  readonly streams = new Map<number, RequestStream>();
  readonly sender: Sender;
  readonly incoming: Incoming;
  /** The highest id of a stream that the client has opened. */
  lastStreamId = 0;
  /** Since when no stream is open, where none is; for the one who looks after it. */
  idleSinceMs = performance.now();
  /** When bytes came in last. */
  receivedMs = performance.now();
  /** Of the bodies of requests that are not complete, what came so far. */
  unfinishedBytes = 0;
  /** Of all answers, what waits to be sent. */
  queuedBytes = 0;
  isClosed = false;
  /** No more streams are taken. */
  isLeaving = false;
  /** Told of the answer to each ping, by its number. */
  onPong: ((ping: number) => void) | undefined;
  private lastPing = 0;
  private isFailed = false;
  /** The last stream that the client was told of as taken: that number never grows again (RFC 9113 section 6.8). */
  private lastTakenId: number | undefined;
  private receiveWindow = CONNECTION_WINDOW_BYTES;
  private uncreditedBytes = 0;
  private readonly latelyReset = new Set<number>();
  private readonly resets: Budget;
  private readonly reader: FrameReader;

  constructor(
    readonly socket: Socket,
    readonly limits: ConnectionLimits,
    private readonly handlers: ConnectionHandlers,
  ) {
    const { streamResetsPerSecondMax: perSecond } = limits;
    this.resets = new Budget(perSecond * RESET_WINDOW_SECONDS, perSecond);
    this.sender = new Sender(socket, (run) => this.guarded(run));
    this.incoming = new Incoming(this);
    this.reader = new FrameReader((...frame) => {
      this.incoming.take(...frame);
      return !this.isFailed;
    });
    socket.once("close", () => {
      this.isClosed = true;
      for (const stream of this.streams.values()) stream.close();
      this.streams.clear();
      handlers.onClosed();
    });
    const settings = ownSettings(limits);
    this.sender.output.head(FrameType.settings, 0, 0, settings.length);
    this.sender.output.add(settings);
    this.sender.numbers(FrameType.windowUpdate, 0, 0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.resume();
  }

  /** Opens a stream whose headers came, and hands it over. */
  open(
    id: number,
    headers: IncomingHttpHeaders,
    fields: readonly string[],
    isEnd: boolean,
    length?: number,
  ): void {
    const windows = { receive: STREAM_WINDOW_BYTES, send: this.sender.initialWindow };
    const stream = new RequestStream(this, id, headers, fields, windows);
    stream.isReceived = isEnd;
    stream.contentLeft = length;
    this.streams.set(id, stream);
    this.handlers.onStream(stream);
  }

  /** Notes bytes of the body of a stream, or of one that is no more. Throws where the client sent more than it may. */
  countReceived(bytes: number, stream: RequestStream | undefined): void {
    this.receiveWindow -= bytes;
    if (this.receiveWindow < 0) {
      throw new Http2Violation(ErrorCode.flowControlError, "More was sent on the connection than it may.");
    }
    if (stream === undefined) {
      this.creditConnection(bytes);
      return;
    }
    stream.receiveWindow -= bytes;
    stream.unreadBytes += bytes;
    if (stream.receiveWindow < 0) {
      throw new Http2Violation(
        ErrorCode.flowControlError,
        "More was sent on a stream than it may.",
        stream.id,
      );
    }
  }

  credit(stream: RequestStream, bytes: number): void {
    if (stream.isClosed) return;
    stream.unreadBytes -= bytes;
    this.creditConnection(bytes);
    if (stream.isReceived) return;
    stream.uncreditedBytes += bytes;
    if (stream.uncreditedBytes < STREAM_WINDOW_BYTES / 2) return;
    this.sender.numbers(FrameType.windowUpdate, 0, stream.id, stream.uncreditedBytes);
    stream.receiveWindow += stream.uncreditedBytes;
    stream.uncreditedBytes = 0;
  }

  /** Ends a stream; with NO_ERROR one whose answer is complete, of which the rest of the request is not wanted. */
  reset(stream: RequestStream, code: number): void {
    if (stream.isClosed) return;
    stream.resetCode = code;
    this.refuse(stream.id, code);
    this.over(stream);
  }

  /** Sends RST_STREAM. */
  refuse(streamId: number, code: number): void {
    this.sender.numbers(FrameType.rstStream, 0, streamId, code);
    this.latelyReset.add(streamId);
    if (this.latelyReset.size <= Math.max(LATELY_RESET_MIN, this.limits.streamsPerConnectionMax)) return;
    for (const oldest of this.latelyReset) {
      this.latelyReset.delete(oldest);
      break;
    }
  }

  /** Whether the client may not know yet that we reset this stream. With its last frame it says that it is done. */
  wasResetLately(streamId: number, isLast: boolean): boolean {
    return isLast ? this.latelyReset.delete(streamId) : this.latelyReset.has(streamId);
  }

  /** The body of a request is complete, or is not wanted any more. */
  finished(stream: RequestStream): void {
    this.unfinishedBytes -= stream.unfinishedBytes;
    stream.unfinishedBytes = 0;
  }

  over(stream: RequestStream): void {
    if (!this.streams.delete(stream.id)) return;
    this.sender.forget(stream);
    if (stream.unreadBytes > 0) this.creditConnection(stream.unreadBytes);
    this.finished(stream);
    this.queuedBytes -= stream.queuedBytes;
    stream.close();
    if (this.streams.size > 0) return;
    this.idleSinceMs = performance.now();
    if (this.isLeaving) this.end();
  }

  /** A stream ended otherwise than by its answer. Throws where there are too many of them. */
  countReset(): void {
    if (this.resets.take()) return;
    // RFC 9113 section 10.5: what looks like abuse may end the connection with this code.
    throw new Http2Violation(ErrorCode.enhanceYourCalm, "Too many streams were reset.");
  }

  /** Sends a ping, and returns its number; `onPong` is told of its answer. */
  ping(): number {
    this.lastPing++;
    this.sender.numbers(FrameType.ping, 0, 0, 0, this.lastPing);
    return this.lastPing;
  }

  /** Asks the client to open no more streams than those up to the last that is named; the highest number asks for nothing yet. */
  goAway(lastStreamId: number = INT31_MAX, code: number = ErrorCode.noError): void {
    this.sender.numbers(FrameType.goAway, 0, 0, lastStreamId, code);
  }

  /** Takes no more streams, and ends when those that are open have ended. */
  leave(): void {
    if (this.isLeaving || this.isFailed) return;
    this.isLeaving = true;
    this.lastTakenId = this.lastStreamId;
    this.goAway(this.lastTakenId);
    if (this.streams.size === 0) this.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    if (this.isFailed) return;
    this.receivedMs = performance.now();
    this.guarded(() => {
      this.reader.push(chunk);
      if (this.sender.waitingBytes > UNTAKEN_BYTES_MAX) {
        throw new Http2Violation(ErrorCode.enhanceYourCalm, "What is sent is not taken.");
      }
    });
  }

  /** Whatever goes wrong on one connection, it must not end the process: that would end all others. */
  private guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (error instanceof Http2Violation) {
        this.fail(error.code);
      } else {
        this.handlers.onFault(error);
        this.destroy();
      }
    }
  }

  private creditConnection(bytes: number): void {
    this.uncreditedBytes += bytes;
    if (this.uncreditedBytes < CONNECTION_WINDOW_BYTES / 2) return;
    this.sender.numbers(FrameType.windowUpdate, 0, 0, this.uncreditedBytes);
    this.receiveWindow += this.uncreditedBytes;
    this.uncreditedBytes = 0;
  }

  /** Ends the connection for what the client did. */
  private fail(code: number): void {
    this.isFailed = true;
    this.goAway(this.lastTakenId ?? this.lastStreamId, code);
    for (const stream of [...this.streams.values()]) {
      stream.resetCode = code;
      this.over(stream);
    }
    this.end();
    this.destroySoon();
  }

  /** Sends what is left, and closes. The client gets a moment to see it: closing with something unread would drop what is on its way. */
  private end(): void {
    if (this.socket.writableEnded) return;
    this.sender.flush();
    this.socket.end(() => this.destroySoon());
  }

  private destroySoon(): void {
    setTimeout(() => this.destroy(), GOODBYE_MS).unref();
  }
}

/**
 * A connection of HTTP/1.1 for as long as its requests are plain (`plain-request.ts`): these are answered past Node's own server, which takes
 * several times as long for each. The first request that is anything else, or that nobody takes here, goes with its connection to Node's
 * server, and stays there: malformed and slow ones, bodies in pieces, upgrades, pipelines.
 */
import type { Socket } from "node:net";
import { headLengthOf, type PlainHead, type PlainRequest, readPlainHead } from "./plain-request.js";
import { PlainResponse } from "./plain-response.js";

const KNOWN_HEAD_BYTES_MAX = 1_024;

export interface LaneOptions {
  /** The longest head that is read here, in bytes. */
  readonly headBytesMax: number;
  /** How long it may take until the first request. */
  readonly headersTimeoutMs: number;
  /** How long it may take from an answer to the next request. */
  readonly idleTimeoutMs: number;
  /** Whether connections are to end with their next answer. */
  readonly isStopping: () => boolean;
  /** Takes a request; false: it must go to Node's server, and nothing was written. */
  readonly take: (request: PlainRequest, response: PlainResponse) => boolean;
  /** Gives the connection to Node's server; what it sent last is put back. */
  readonly leave: (socket: Socket) => void;
  readonly onClosed: (lane: Lane) => void;
}

export class Lane {
  /** When its last answer was taken, or it was opened. */
  private idleSinceMs = performance.now();
  private hasAnswered = false;
  /** The one that is being made. */
  private response: PlainResponse | undefined;
  /** What came in meanwhile. */
  private held: Buffer | undefined;
  private lastText = "";
  private lastHead: PlainHead | undefined;
  private readonly onData = (chunk: Buffer): void => this.receive(chunk);
  private readonly onDrain = (): void => {
    this.idleSinceMs = performance.now();
    this.receiveHeld();
  };
  private readonly onHeld = (): void => this.receiveHeld();
  private readonly onClose = (): void => {
    this.options.onClosed(this);
    this.response?.close();
  };

  constructor(
    private readonly socket: Socket,
    private readonly options: LaneOptions,
  ) {
    socket.on("data", this.onData);
    socket.on("drain", this.onDrain);
    socket.on("close", this.onClose);
    socket.resume();
  }

  /** Ends it where it has been without a request for too long. (How long an answer may take to be taken is looked after elsewhere.) */
  look(nowMs: number): void {
    const { headersTimeoutMs, idleTimeoutMs } = this.options;
    const isIdle = this.response === undefined && this.socket.writableLength === 0;
    if (isIdle && nowMs - this.idleSinceMs >= (this.hasAnswered ? idleTimeoutMs : headersTimeoutMs))
      this.socket.destroy();
  }

  /** Ends it where no request is under way, when the client has the last answer. */
  endIdle(): void {
    if (this.response === undefined) this.socket.destroySoon();
  }

  private receive(chunk: Buffer): void {
    // Behind the last answer nothing is done any more (RFC 9112 section 9.6).
    if (!this.socket.writable) return;
    if (this.isBusy) {
      // A client that does not wait for its answers gets them in their order, and no more than it takes.
      this.held = this.held === undefined ? chunk : Buffer.concat([this.held, chunk]);
      this.socket.pause();
      return;
    }
    const request = this.read(chunk);
    if (request === undefined) {
      this.leave(chunk);
      return;
    }
    const { isStopping: isLast, idleTimeoutMs } = this.options;
    const response = new PlainResponse(request, this.socket, {
      isLast,
      keepAliveSeconds: Math.floor(idleTimeoutMs / 1_000),
      onEnd: (wasLast) => this.answered(wasLast),
    });
    this.response = response;
    if (this.options.take(request, response)) return;
    this.response = undefined;
    this.leave(chunk);
  }

  private read(chunk: Buffer): PlainRequest | undefined {
    const bodyStart = headLengthOf(chunk, this.options.headBytesMax);
    if (bodyStart === undefined) return undefined;
    const text = chunk.toString("latin1", 0, bodyStart - 4);
    const head = text === this.lastText ? this.lastHead : readPlainHead(text);
    // As one client's requests are much alike, the last one is not read again when it comes again. A long one is not worth its memory.
    if (text.length <= KNOWN_HEAD_BYTES_MAX) {
      this.lastHead = head;
      this.lastText = text;
    }
    if (head === undefined || chunk.length - bodyStart !== head.contentLength) return undefined;
    const { method, url } = head;
    // A copy of the headers, as whoever has the request may add to them.
    return {
      method,
      url,
      headers: { ...head.headers },
      body: chunk.subarray(bodyStart),
      socket: this.socket,
      httpVersionMajor: 1,
    };
  }

  private answered(wasLast: boolean): void {
    this.response = undefined;
    this.hasAnswered = true;
    this.idleSinceMs = performance.now();
    if (wasLast) this.socket.destroySoon();
    // Not within the answer: many in a row would go deep.
    else if (this.held !== undefined) setImmediate(this.onHeld);
  }

  private get isBusy(): boolean {
    return this.response !== undefined || this.socket.writableNeedDrain;
  }

  private receiveHeld(): void {
    const { held } = this;
    if (held === undefined || this.isBusy || !this.socket.writable) return;
    this.held = undefined;
    this.socket.resume();
    this.receive(held);
  }

  private leave(chunk: Buffer): void {
    const { socket } = this;
    socket.off("data", this.onData);
    socket.off("drain", this.onDrain);
    socket.off("close", this.onClose);
    socket.pause();
    socket.unshift(chunk);
    this.options.onClosed(this);
    this.options.leave(socket);
  }
}

/**
 * An HTTP/1.1 connection that bypasses Node's server, which takes several times as long per request. It serves simple requests only
 * (`simple-request.ts`). At the first request that is not simple, or that the handler declines, the connection moves to Node's server for good:
 * malformed and slow requests, bodies in several chunks, upgrades, pipelines.
 */
import type { Socket } from "node:net";
import type { ByteAccount, ByteBudget } from "@ironflow-kv/http2";
import { HTTP1_OVERLOADED } from "../response-framing.js";
import { SimpleExchange, type SimpleRequest } from "./simple-exchange.js";
import { headLengthOf, readSimpleHead, type SimpleHead } from "./simple-request.js";

const CACHED_HEAD_BYTES_MAX = 1_024;

export interface FastHttp1ConnectionOptions {
  /** The longest request head accepted here, in bytes. Connections with longer ones move to Node's server. */
  readonly headBytesMax: number;
  /** How long the first request may take to arrive. */
  readonly headersTimeoutMs: number;
  /** How long the connection may stay idle between a response and the next request. */
  readonly idleTimeoutMs: number;
  /** Whether the next response must close the connection. */
  readonly isStopping: () => boolean;
  /** Handles a request. Returns false, having written nothing, if Node's server must handle it. */
  readonly handle: (exchange: SimpleExchange) => boolean;
  /** Hands the connection to Node's server. The unhandled bytes are back in the socket's read buffer. */
  readonly handOff: (socket: Socket) => void;
  /** Counts the requests without a response. */
  readonly incompleteRequests: ByteBudget;
  /** Called after each write to the socket. */
  readonly onWritten: (socket: Socket) => void;
  readonly onClosed: (connection: FastHttp1Connection) => void;
}

export class FastHttp1Connection {
  /** When the client last drained a response, or the connection opened. */
  private idleSinceMs = performance.now();
  private hasAnswered = false;
  /** The request in progress. */
  private exchange: SimpleExchange | undefined;
  /** Bytes received while a response is in progress. */
  private held: Buffer | undefined;
  /** The bytes of the request in progress and of `held`. */
  private readonly received: ByteAccount;
  private lastText = "";
  private lastHead: SimpleHead | undefined;
  private readonly onData = (chunk: Buffer): void => this.receive(chunk);
  private readonly onDrain = (): void => {
    this.idleSinceMs = performance.now();
    this.receiveHeld();
  };
  private readonly onHeld = (): void => this.receiveHeld();
  private readonly onClose = (): void => {
    this.held = undefined;
    this.received.close();
    this.options.onClosed(this);
    this.exchange?.close();
  };

  constructor(
    private readonly socket: Socket,
    private readonly options: FastHttp1ConnectionOptions,
  ) {
    // Complete requests may have begun: nothing can be released.
    this.received = options.incompleteRequests.open(() => undefined);
    socket.on("data", this.onData);
    socket.on("drain", this.onDrain);
    socket.on("close", this.onClose);
    socket.resume();
  }

  /** Closes the connection if it has been idle for too long. (`destroyStalledSockets` closes those that do not drain a response.) */
  closeIfIdle(nowMs: number): void {
    const { headersTimeoutMs, idleTimeoutMs } = this.options;
    const isIdle = this.exchange === undefined && this.socket.writableLength === 0;
    if (isIdle && nowMs - this.idleSinceMs >= (this.hasAnswered ? idleTimeoutMs : headersTimeoutMs))
      this.socket.destroy();
  }

  /** Closes the connection once written responses are sent, if no request is in progress. */
  closeUnlessBusy(): void {
    if (this.exchange === undefined) this.socket.destroySoon();
  }

  private receive(chunk: Buffer): void {
    // No request is processed after the final response (RFC 9112 section 9.6).
    if (!this.socket.writable) return;
    this.received.add(chunk.length);
    if (this.isBusy) {
      // Pipelining: one request at a time, and none while the client is not reading.
      this.held = this.held === undefined ? chunk : Buffer.concat([this.held, chunk]);
      this.socket.pause();
      return;
    }
    if (this.options.incompleteRequests.isExceeded) {
      this.received.set(0);
      this.socket.end(HTTP1_OVERLOADED);
      return;
    }
    const request = this.read(chunk);
    if (request === undefined) {
      this.handOff(chunk);
      return;
    }
    const { isStopping: isLast, idleTimeoutMs } = this.options;
    const exchange = new SimpleExchange(request, this.socket, {
      isLast,
      keepAliveSeconds: Math.floor(idleTimeoutMs / 1_000),
      onWritten: () => this.options.onWritten(this.socket),
      onEnd: (wasLast) => this.onResponseEnd(wasLast),
    });
    this.exchange = exchange;
    if (this.options.handle(exchange)) return;
    this.exchange = undefined;
    this.handOff(chunk);
  }

  private read(chunk: Buffer): SimpleRequest | undefined {
    const bodyStart = headLengthOf(chunk, this.options.headBytesMax);
    if (bodyStart === undefined) return undefined;
    const text = chunk.toString("latin1", 0, bodyStart - 4);
    const head = text === this.lastText ? this.lastHead : readSimpleHead(text);
    // Clients repeat their requests, so cache the last parsed head unless it is long.
    if (text.length <= CACHED_HEAD_BYTES_MAX) {
      this.lastHead = head;
      this.lastText = text;
    }
    if (head === undefined || chunk.length - bodyStart !== head.contentLength) return undefined;
    const { method, target } = head;
    // Copy the headers: handlers may add to them.
    return { method, target, headers: { ...head.headers }, body: chunk.subarray(bodyStart) };
  }

  private onResponseEnd(wasLast: boolean): void {
    this.exchange = undefined;
    this.received.set(this.held?.length ?? 0);
    this.hasAnswered = true;
    this.idleSinceMs = performance.now();
    if (wasLast) this.socket.destroySoon();
    // Deferred: a long pipeline would otherwise recurse.
    else if (this.held !== undefined) setImmediate(this.onHeld);
  }

  private get isBusy(): boolean {
    return this.exchange !== undefined || this.socket.writableNeedDrain;
  }

  private receiveHeld(): void {
    const { held } = this;
    if (held === undefined || this.isBusy || !this.socket.writable) return;
    this.held = undefined;
    this.received.set(0);
    this.socket.resume();
    this.receive(held);
  }

  private handOff(chunk: Buffer): void {
    const { socket } = this;
    socket.off("data", this.onData);
    socket.off("drain", this.onDrain);
    socket.off("close", this.onClose);
    socket.pause();
    socket.unshift(chunk);
    this.received.close();
    this.options.onClosed(this);
    this.options.handOff(socket);
  }
}

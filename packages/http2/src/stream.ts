/** One request and its response: a stream of RFC 9113 section 5. */
import type { IncomingHttpHeaders } from "node:http";
import { ErrorCode, FrameType } from "./codes.js";
import { checkField } from "./field-encoder.js";
import { RequestBody } from "./request-body.js";
import { SendQueue } from "./send-queue.js";
import type { Fields, StreamConnection, StreamListener, StreamOptions } from "./stream-events.js";
import type { WriteBuffer } from "./write-buffer.js";

/**
 * The states of RFC 9113 section 5.1 that handlers can see. A stream begins with the request's header fields: it is never idle. Nothing is
 * pushed: it is never reserved. A response that ends before its request resets the stream: it is never half-closed (local).
 */
export type StreamState = "open" | "half-closed-remote" | "closed";

/** Above this, writers should wait for `drain`. */
const FULL_BYTES = 65_536;

export class RequestStream {
  listener: StreamListener | undefined;
  /** Whether the body counts as consumed on receipt. Otherwise call `consume`: until then the client's window stays closed. */
  consumesOnReceipt = true;
  readonly id: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  /** The response body. Only the frame writer and the connection use it. */
  readonly queue: SendQueue;
  private readonly body: RequestBody;
  private closed = false;
  private code: number = ErrorCode.noError;
  private responded = false;
  private responseComplete = false;
  private wasFull = false;

  constructor(
    readonly connection: StreamConnection,
    options: StreamOptions,
  ) {
    const { id, receiveWindowBytes, contentLength, isRequestComplete } = options;
    this.id = id;
    this.headers = options.headers;
    this.rawHeaders = options.rawHeaders;
    this.body = new RequestBody(id, connection, receiveWindowBytes, contentLength, isRequestComplete);
    this.queue = new SendQueue(options.sendWindowBytes);
  }

  get state(): StreamState {
    if (this.closed) return "closed";
    return this.body.isComplete ? "half-closed-remote" : "open";
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** Whether all of the request arrived. */
  get isRequestComplete(): boolean {
    return this.body.isComplete;
  }

  /** Whether the response's header fields were sent. */
  get hasResponded(): boolean {
    return this.responded;
  }

  /** Why either side reset the stream (RFC 9113 section 7); NO_ERROR if neither did. */
  get resetCode(): number {
    return this.code;
  }

  /** Bytes of the request received and not consumed yet. */
  get unconsumedBytes(): number {
    return this.body.unconsumedBytes;
  }

  /** Bytes of an incomplete request that its handler holds. */
  get heldBytes(): number {
    return this.body.heldBytes;
  }

  /** Bytes that wait to be sent. */
  get writableLength(): number {
    return this.queue.bytes;
  }

  /** Bytes of the body sent so far. */
  get sentBytes(): number {
    return this.queue.sentBytes;
  }

  /** Whether writers should wait for `drain`. */
  get isFull(): boolean {
    return this.queue.bytes >= FULL_BYTES;
  }

  /** Sends an interim response, such as 100. */
  inform(status: number): void {
    if (!this.closed && !this.responded) this.connection.writer.headers(this.id, status, {}, false);
  }

  /** Sends the response's header fields. Throws a TypeError for a field that HTTP/2 cannot carry; nothing is sent then. */
  respond(status: number, fields: Fields, isEnd: boolean): void {
    if (this.closed || this.responded) return;
    this.connection.writer.headers(this.id, status, fields, isEnd);
    this.responded = true;
    if (isEnd) this.completeResponse();
  }

  write(bytes: Uint8Array): void {
    this.writeAll([bytes]);
  }

  /** Like several calls of `write`. */
  writeAll(pieces: readonly Uint8Array[]): void {
    if (this.closed || this.queue.isEnding) return;
    for (const piece of pieces) this.enqueue(piece);
    this.connection.writer.send(this);
    if (this.isFull) this.wasFull = true;
  }

  /** Ends the response. Throws a TypeError for a trailer that HTTP/2 cannot carry. */
  end(bytes?: Uint8Array, trailers?: Fields): void {
    if (this.closed || this.queue.isEnding) return;
    for (const name in trailers) checkField(name, trailers[name] ?? "");
    if (bytes !== undefined) this.enqueue(bytes);
    this.queue.end(trailers);
    this.connection.writer.send(this);
  }

  /** Resets the stream. */
  reset(code: number): void {
    if (this.closed) return;
    this.code = code;
    this.connection.sendReset(this.id, code);
    this.close();
  }

  /** Counts consumed bytes of the request, so that the client may send more. */
  consume(bytes: number): void {
    if (this.closed) return;
    this.connection.consume(bytes);
    const increment = this.body.consume(bytes);
    if (increment > 0) this.connection.writer.numbers(FrameType.windowUpdate, 0, this.id, increment);
  }

  /** Takes a DATA frame of `frameBytes` bytes, padding included. Throws a stream error. */
  receiveData(content: Buffer, frameBytes: number, isEnd: boolean): void {
    this.body.receive(content.length, frameBytes, isEnd);
    if (!isEnd && this.consumesOnReceipt) this.body.hold(content.length);
    // Listeners never see padding: it counts as consumed here.
    this.consume(this.consumesOnReceipt ? frameBytes : frameBytes - content.length);
    if (content.length > 0) this.listener?.receive(content);
    if (isEnd) this.listener?.received();
  }

  /** Takes the trailer fields. Throws a stream error. */
  receiveTrailers(trailers: IncomingHttpHeaders): void {
    this.body.complete();
    this.listener?.received(trailers);
  }

  /** The client reset the stream, or the connection failed with this code. */
  abort(code: number): void {
    if (this.closed) return;
    this.code = code;
    this.close();
  }

  /** Moves queued bytes to the output. */
  moveQueued(output: WriteBuffer, bytes: number): void {
    this.queue.moveTo(output, bytes);
    this.connection.countUnsent(-bytes);
  }

  /** The queue was sent as far as the windows allow. */
  flushed(): void {
    if (!this.wasFull || this.queue.bytes > 0) return;
    this.wasFull = false;
    this.listener?.drain?.();
  }

  /** END_STREAM was sent. */
  completeResponse(): void {
    this.responseComplete = true;
    if (this.body.isComplete) this.close();
    // RFC 9113 section 8.1: the server ends a request early and asks the client to stop sending its body.
    else this.reset(ErrorCode.noError);
  }

  /** Closes the stream and tells its listener. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    const { connection, listener } = this;
    connection.remove(this);
    this.queue.clear();
    this.listener = undefined;
    if (listener !== undefined) {
      if (!this.responseComplete) connection.guarded(() => listener.abandon());
      connection.guarded(() => listener.over?.());
    }
    connection.closeIfDrained();
  }

  private enqueue(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.queue.push(bytes);
    this.connection.countUnsent(bytes.length);
  }
}

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
 * pushed: it is never reserved.
 */
export type StreamState = "open" | "half-closed-local" | "half-closed-remote" | "closed";

/** Above this, writers should wait for `drain`. */
const FULL_BYTES = 65_536;
/**
 * A body that follows its response is dropped up to this size; then the stream is reset. Many clients lose the response if the reset follows
 * it at once, though RFC 9113 section 8.1 says that they must not.
 */
export const LATE_BODY_BYTES_MAX = 16_777_216;

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
  private isDiscarding = false;
  private hasInformed = false;
  /** Bytes of the body that arrived after the response. */
  private lateBytes = 0;

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
    if (this.responseComplete) return "half-closed-local";
    return this.body.isComplete ? "half-closed-remote" : "open";
  }

  /** Whether the response is complete, or the stream was reset. */
  get isClosed(): boolean {
    return this.closed || this.responseComplete;
  }

  /** Whether all of the request arrived. */
  get isRequestComplete(): boolean {
    return this.body.isComplete;
  }

  /** Whether the response's header fields were sent. */
  get hasResponded(): boolean {
    return this.responded;
  }

  /** Whether the request is complete and its response has not begun: its outcome would be lost with the stream. */
  get isInFlight(): boolean {
    return this.body.isComplete && !this.responded && !this.closed;
  }

  /** Why either side reset the stream (RFC 9113 section 7); NO_ERROR if neither did. */
  get resetCode(): number {
    return this.code;
  }

  /** Bytes of the request received and not consumed yet. */
  get unconsumedBytes(): number {
    return this.body.unconsumedBytes;
  }

  /** Bytes of the request that are held until the response. */
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
    if (this.closed || this.responded) return;
    this.hasInformed = true;
    this.connection.writer.headers(this.id, status, {}, false);
  }

  /** Sends the response's header fields. Throws a TypeError for a field that HTTP/2 cannot carry; nothing is sent then. */
  respond(status: number, fields: Fields, isEnd: boolean): void {
    if (this.closed || this.responded) return;
    this.connection.writer.headers(this.id, status, fields, isEnd);
    this.responded = true;
    this.body.release();
    if (isEnd) this.completeResponse();
  }

  write(bytes: Uint8Array): void {
    this.writeAll([bytes]);
  }

  /** Like several calls of `write`. */
  writeAll(pieces: readonly Uint8Array[]): void {
    if (this.closed || this.queue.isEnding) return;
    for (const piece of pieces) this.enqueue(piece);
    // Too many unsent bytes reset streams.
    if (this.isClosed) return;
    this.connection.writer.send(this);
    if (this.isFull) this.wasFull = true;
  }

  /** Ends the response. Throws a TypeError for a trailer that HTTP/2 cannot carry. */
  end(bytes?: Uint8Array, trailers?: Fields): void {
    if (this.closed || this.queue.isEnding) return;
    for (const name in trailers) checkField(name, trailers[name] ?? "");
    if (bytes !== undefined) this.enqueue(bytes);
    if (this.isClosed) return;
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

  /** Resets the stream because the client is too slow. */
  expire(): void {
    this.reset(this.responseComplete ? ErrorCode.noError : ErrorCode.cancel);
  }

  /** Counts consumed bytes of the request, so that the client may send more. */
  consume(bytes: number): void {
    if (this.closed) return;
    this.connection.consume(bytes);
    const increment = this.body.consume(bytes);
    if (increment > 0) this.connection.writer.numbers(FrameType.windowUpdate, 0, this.id, increment);
  }

  /** The handler has processed what it received of the body: it does not hold it until the response. */
  releaseBody(): void {
    if (!this.closed) this.body.release();
  }

  /** The handler does not read the body: drops what follows, and tells the listener nothing of it. */
  discardBody(): void {
    if (this.closed || this.isDiscarding) return;
    this.isDiscarding = true;
    this.consumesOnReceipt = true;
    this.consume(this.unconsumedBytes);
    this.body.release();
  }

  /** Counts the request's header fields until the response. Throws a stream error if too many bytes are held. */
  holdHead(bytes: number): void {
    this.body.hold(bytes);
  }

  /** Takes a DATA frame of `frameBytes` bytes, padding included. Throws a stream error. */
  receiveData(content: Buffer, frameBytes: number, isEnd: boolean): void {
    this.body.receive(content.length, frameBytes, isEnd);
    if (!this.isDiscarding) this.body.hold(content.length);
    // Too many held bytes reset streams.
    if (this.closed) return;
    if (this.responseComplete) {
      this.receiveLate(frameBytes);
      return;
    }
    // Listeners never see padding: it counts as consumed here.
    this.consume(this.consumesOnReceipt ? frameBytes : frameBytes - content.length);
    if (this.isDiscarding) return;
    if (content.length > 0) this.listener?.receive(isEnd ? content : withoutNeighbors(content));
    if (isEnd) this.notifyReceived();
  }

  /** Takes the trailer fields. Throws a stream error. */
  receiveTrailers(trailers: IncomingHttpHeaders): void {
    this.body.complete();
    if (this.responseComplete) this.close();
    else this.notifyReceived(trailers);
  }

  private notifyReceived(trailers?: IncomingHttpHeaders): void {
    if (!this.isDiscarding) this.listener?.received(trailers);
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
    else if (this.connection.isDraining || this.isAwaited) this.reset(ErrorCode.noError);
    else this.discardBody();
  }

  /** Whether the client waits for an interim response before it sends the body (RFC 9110 section 10.1.1). */
  private get isAwaited(): boolean {
    return this.headers.expect !== undefined && !this.hasInformed;
  }

  /** Drops a piece of the body that follows the response. */
  private receiveLate(frameBytes: number): void {
    this.consume(frameBytes);
    this.lateBytes += frameBytes;
    if (this.body.isComplete) this.close();
    // RFC 9113 section 8.1: asks the client to stop sending its body.
    else if (this.lateBytes > LATE_BODY_BYTES_MAX) this.reset(ErrorCode.noError);
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

/** The bytes in a buffer of about their size: a piece of a body that waits for the rest must not hold all that arrived beside it. */
function withoutNeighbors(bytes: Buffer): Buffer {
  return bytes.length * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes;
}

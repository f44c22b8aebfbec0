/** One request and its response: a stream of RFC 9113 section 5. */
import type { IncomingHttpHeaders } from "node:http";
import { ErrorCode, FrameType } from "./codes.js";
import { contentLengthError, Http2Error } from "./errors.js";
import { checkField } from "./field-encoder.js";
import type { FrameWriter } from "./frame-writer.js";
import { ReceiveFlow } from "./receive-flow.js";
import { SendQueue } from "./send-queue.js";
import type { WriteBuffer } from "./write-buffer.js";

/** Header or trailer fields by lower-case name. */
export type Fields = Readonly<Record<string, string>>;

/**
 * The states of RFC 9113 section 5.1, as the server sees them. A stream begins with the request's header fields, so it is never idle;
 * nothing is pushed, so it is never reserved.
 */
export type StreamState = "open" | "half-closed-remote" | "half-closed-local" | "closed";

/** Receives the events of a stream. None of these may throw. */
export interface StreamListener {
  /** A piece of the request body. */
  receive(chunk: Buffer): void;
  /** The request is complete. */
  received(trailers?: IncomingHttpHeaders): void;
  /** The stream closed before its response was complete: it was reset, or the connection closed. */
  abandon(): void;
  /** The queue is empty again after `isFull` was true. */
  drain?(): void;
  /** The stream is closed. The last event. */
  over?(): void;
}

/** What a stream uses of its connection. */
export interface StreamConnection {
  readonly writer: FrameWriter;
  /** Counts consumed bytes, so that the peer may send more on the connection. */
  consume(bytes: number): void;
  /** Adds to the bytes of incomplete request bodies; false if they exceed the limit. */
  countIncomplete(bytes: number): boolean;
  /** Adds to the unsent bytes of all responses. */
  countUnsent(bytes: number): void;
  /** Sends RST_STREAM. */
  sendReset(streamId: number, code: number): void;
  /** Forgets a stream that is closed. */
  remove(stream: RequestStream): void;
  /** Closes the connection if this was the last stream and no more are accepted. */
  closeIfDrained(): void;
}

/** Above this, writers should wait for `drain`. */
const FULL_BYTES = 65_536;

export interface StreamOptions {
  readonly id: number;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
  /** Whether the header fields are the whole request. */
  readonly isRequestComplete: boolean;
  readonly contentLength: number | undefined;
  readonly receiveWindowBytes: number;
  readonly sendWindowBytes: number;
}

export class RequestStream {
  listener: StreamListener | undefined;
  /** Whether the body counts as consumed on receipt. Otherwise call `consume`: until then the client's window stays closed. */
  consumesOnReceipt = true;
  readonly id: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  /** The response body. Only the frame writer and the connection use it. */
  readonly queue: SendQueue;
  private readonly flow: ReceiveFlow;
  private currentState: StreamState;
  private code: number = ErrorCode.noError;
  private responded = false;
  private endsAfterQueue = false;
  private endTrailers: Fields | undefined;
  private contentLeft: number | undefined;
  private incompleteBytes = 0;
  private wasFull = false;

  constructor(
    readonly connection: StreamConnection,
    options: StreamOptions,
  ) {
    this.id = options.id;
    this.headers = options.headers;
    this.rawHeaders = options.rawHeaders;
    this.currentState = options.isRequestComplete ? "half-closed-remote" : "open";
    this.contentLeft = options.contentLength;
    this.flow = new ReceiveFlow(options.receiveWindowBytes);
    this.queue = new SendQueue(options.sendWindowBytes);
  }

  get state(): StreamState {
    return this.currentState;
  }

  get isClosed(): boolean {
    return this.currentState === "closed";
  }

  /** Whether all of the request arrived. */
  get isRequestComplete(): boolean {
    return this.currentState === "half-closed-remote";
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
    return this.flow.unconsumedBytes;
  }

  /** Bytes of an incomplete request that its handler holds. */
  get heldBytes(): number {
    return this.incompleteBytes;
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

  /** Whether END_STREAM follows the queue. */
  get isEnding(): boolean {
    return this.endsAfterQueue;
  }

  /** The trailer fields that follow the queue. */
  get trailers(): Fields | undefined {
    return this.endTrailers;
  }

  /** Sends an interim response, such as 100. */
  inform(status: number): void {
    if (!this.isClosed && !this.responded) this.connection.writer.headers(this.id, status, {}, false);
  }

  /** Sends the response's header fields. Throws a TypeError for a field that HTTP/2 cannot carry; nothing is sent then. */
  respond(status: number, fields: Fields, isEnd: boolean): void {
    if (this.isClosed || this.responded) return;
    this.connection.writer.headers(this.id, status, fields, isEnd);
    this.responded = true;
    if (isEnd) this.completeResponse();
  }

  write(bytes: Uint8Array): void {
    if (this.isClosed || this.endsAfterQueue || bytes.length === 0) return;
    this.enqueue(bytes);
    this.flush();
  }

  /** Like several calls of `write`. */
  writeAll(pieces: readonly Uint8Array[]): void {
    if (this.isClosed || this.endsAfterQueue) return;
    for (const piece of pieces) if (piece.length > 0) this.enqueue(piece);
    this.flush();
  }

  /** Ends the response. Throws a TypeError for a trailer that HTTP/2 cannot carry. */
  end(bytes?: Uint8Array, trailers?: Fields): void {
    if (this.isClosed || this.endsAfterQueue) return;
    for (const name in trailers) checkField(name, trailers[name] ?? "");
    if (bytes !== undefined && bytes.length > 0) this.enqueue(bytes);
    this.endTrailers = trailers;
    this.endsAfterQueue = true;
    this.connection.writer.send(this);
  }

  /** Resets the stream. */
  reset(code: number): void {
    if (this.isClosed) return;
    this.code = code;
    this.connection.sendReset(this.id, code);
    this.close();
  }

  /** Counts consumed bytes of the request, so that the client may send more. */
  consume(bytes: number): void {
    if (this.isClosed) return;
    this.connection.consume(bytes);
    const increment = this.flow.consume(bytes);
    if (increment > 0 && !this.isRequestComplete)
      this.connection.writer.numbers(FrameType.windowUpdate, 0, this.id, increment);
  }

  /** Takes a DATA frame of `frameBytes` bytes, padding included. Throws a stream error. */
  receiveData(content: Buffer, frameBytes: number, isEnd: boolean): void {
    const { id } = this;
    if (!this.flow.receive(frameBytes))
      throw new Http2Error(ErrorCode.flowControlError, "The stream's window was exceeded.", id);
    if (this.isRequestComplete) throw new Http2Error(ErrorCode.streamClosed, "DATA after END_STREAM.", id);
    if (this.contentLeft !== undefined) {
      this.contentLeft -= content.length;
      if (this.contentLeft < 0 || (isEnd && this.contentLeft > 0)) throw contentLengthError(id);
    }
    if (isEnd) this.completeRequest();
    else if (this.consumesOnReceipt) this.holdIncomplete(content.length);
    // Listeners never see padding: it counts as consumed here.
    this.consume(this.consumesOnReceipt ? frameBytes : frameBytes - content.length);
    if (content.length > 0) this.listener?.receive(content);
    if (isEnd) this.listener?.received();
  }

  /** Takes the trailer fields. Throws a stream error. */
  receiveTrailers(trailers: IncomingHttpHeaders): void {
    if (this.contentLeft !== undefined && this.contentLeft > 0) throw contentLengthError(this.id);
    this.completeRequest();
    this.listener?.received(trailers);
  }

  /** The client reset the stream, or the connection failed with this code. */
  abort(code: number): void {
    if (this.isClosed) return;
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
    if (this.isRequestComplete) {
      this.currentState = "half-closed-local";
      this.close();
    } else {
      this.currentState = "half-closed-local";
      // RFC 9113 section 8.1: the server ends a request early and asks the client to stop sending its body.
      this.reset(ErrorCode.noError);
    }
  }

  /** Closes the stream and tells its listener. */
  close(): void {
    if (this.isClosed) return;
    const isAborted = this.currentState !== "half-closed-local";
    this.currentState = "closed";
    const { connection, listener } = this;
    connection.remove(this);
    this.queue.clear();
    this.listener = undefined;
    if (isAborted) listener?.abandon();
    listener?.over?.();
    connection.closeIfDrained();
  }

  private enqueue(bytes: Uint8Array): void {
    this.queue.push(bytes);
    this.connection.countUnsent(bytes.length);
  }

  private flush(): void {
    this.connection.writer.send(this);
    if (this.isFull) this.wasFull = true;
  }

  private completeRequest(): void {
    this.currentState = "half-closed-remote";
    this.connection.countIncomplete(-this.incompleteBytes);
    this.incompleteBytes = 0;
  }

  /** The handler holds the body until its end. Nothing was done for the request yet: the client may retry it. */
  private holdIncomplete(bytes: number): void {
    this.incompleteBytes += bytes;
    if (!this.connection.countIncomplete(bytes))
      throw new Http2Error(ErrorCode.refusedStream, "Too many bytes of incomplete requests.", this.id);
  }
}

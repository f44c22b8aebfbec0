/** One request on an HTTP/2 connection, and its answer: https://www.rfc-editor.org/rfc/rfc9113 section 5. */
import type { IncomingHttpHeaders } from "node:http";
import { ErrorCode } from "./codes.js";
import { checkField } from "./field-encoder.js";
import type { Sender } from "./sender.js";

/** Header or trailer fields, by names in lower case. */
export type Fields = Readonly<Record<string, string>>;

/** Who is told what happens on a stream. None of these may throw. */
export interface StreamListener {
  /** A piece of the request's body. */
  receive(chunk: Buffer): void;
  /** The request is complete. */
  received(trailers?: IncomingHttpHeaders): void;
  /** The stream is over before its answer was complete: by a reset, or with its connection. */
  abandon(): void;
  /** What was written has been taken, after `isFull` said that it was much. */
  drain?(): void;
  /** Told last, however it ends. */
  over?(): void;
}

/** More than this should not be written before what was written is taken. */
const FULL_BYTES = 65_536;

/** What of a connection its streams use. */
export interface StreamConnection {
  readonly sender: Sender;
  /** Of all answers, what waits to be sent. */
  queuedBytes: number;
  /** The body's bytes of a stream that is not `readsAtOnce` were read: the client may send as many more. */
  credit(stream: RequestStream, bytes: number): void;
  /** Sends RST_STREAM. */
  reset(stream: RequestStream, code: number): void;
  /** Both sides are done, or one of them gave up. */
  over(stream: RequestStream): void;
}

export class RequestStream {
  listener: StreamListener | undefined;
  /** Whether pieces of the body count as read when they are handed over; otherwise `credit` tells. */
  readsAtOnce = true;
  /** Whether the request is complete. */
  isReceived = false;
  hasAnswered = false;
  /** Whether the answer is complete, and was handed to the connection. */
  isSent = false;
  isClosed = false;
  /** Why it was reset, by either side; 0 where it was not. */
  resetCode: number = ErrorCode.noError;
  /** What of the body is still to come, where the headers said how long it is. */
  contentLeft: number | undefined;
  /** What the client may still send, and we. */
  receiveWindow: number;
  sendWindow: number;
  /** Received, and not credited yet. */
  unreadBytes = 0;
  /** Read, and not told to the client yet. */
  uncreditedBytes = 0;
  /** Of the body, what came while its end has not, where whoever takes it holds it until then. */
  unfinishedBytes = 0;
  /** Of the answer, what was handed to the connection. */
  takenBytes = 0;
  /** When somebody first looked whether it takes too long. */
  firstSeenMs: number | undefined;

  /** What is to be sent, from `queueAt` on. */
  queue: Uint8Array[] = [];
  queueAt = 0;
  /** What of it is not sent yet. */
  queuedBytes = 0;
  /** Whether the answer ends behind the queue, and its trailers. */
  endsBehindQueue = false;
  trailers: Fields | undefined;
  private wasFull = false;

  constructor(
    readonly connection: StreamConnection,
    readonly id: number,
    readonly headers: IncomingHttpHeaders,
    /** Names and values in turn, as they came. */
    readonly rawHeaders: readonly string[],
    windows: { readonly receive: number; readonly send: number },
  ) {
    this.receiveWindow = windows.receive;
    this.sendWindow = windows.send;
  }

  /** What waits to be sent. */
  get writableLength(): number {
    return this.queuedBytes;
  }

  /** Whether more should wait for `drain`. */
  get isFull(): boolean {
    return this.queuedBytes >= FULL_BYTES;
  }

  /** An answer before the answer: 100. */
  inform(status: number): void {
    if (!this.isClosed && !this.hasAnswered) this.connection.sender.headers(this, status, {}, false);
  }

  /** Throws where a field can't be sent; nothing is sent then. */
  respond(status: number, fields: Fields, isEnd: boolean): void {
    if (this.isClosed || this.hasAnswered) return;
    this.connection.sender.headers(this, status, fields, isEnd);
    this.hasAnswered = true;
    if (isEnd) this.sent();
  }

  write(bytes: Uint8Array): void {
    if (this.isClosed || this.endsBehindQueue || bytes.length === 0) return;
    this.enqueue(bytes);
    this.connection.sender.send(this);
    if (this.isFull) this.wasFull = true;
  }

  /** As several times `write`. */
  writeAll(pieces: readonly Uint8Array[]): void {
    if (this.isClosed || this.endsBehindQueue) return;
    for (const piece of pieces) if (piece.length > 0) this.enqueue(piece);
    this.connection.sender.send(this);
    if (this.isFull) this.wasFull = true;
  }

  /** Ends the answer. Throws where a trailer can't be sent. */
  end(bytes?: Uint8Array, trailers?: Fields): void {
    if (this.isClosed || this.endsBehindQueue) return;
    for (const name in trailers) checkField(name, trailers[name] ?? "");
    if (bytes !== undefined && bytes.length > 0) this.enqueue(bytes);
    this.trailers = trailers;
    this.endsBehindQueue = true;
    this.connection.sender.send(this);
  }

  /** Ends the stream before its time. */
  reset(code: number): void {
    if (!this.isClosed) this.connection.reset(this, code);
  }

  /** Lets the client send as many more bytes. */
  credit(bytes: number): void {
    this.connection.credit(this, bytes);
  }

  /** The answer's last frame is on its way. */
  sent(): void {
    this.isSent = true;
    if (this.isReceived) this.connection.over(this);
    // RFC 9113 section 8.1: what else the client may want to send, nobody reads.
    else this.connection.reset(this, ErrorCode.noError);
  }

  /** Part of the queue was taken. */
  taken(): void {
    if (!this.wasFull || this.queuedBytes > 0) return;
    this.wasFull = false;
    this.listener?.drain?.();
  }

  /** Tells that it is over; once. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.queue = [];
    this.queuedBytes = 0;
    const { listener } = this;
    if (!this.isSent) listener?.abandon();
    listener?.over?.();
    this.listener = undefined;
  }

  private enqueue(bytes: Uint8Array): void {
    this.queue.push(bytes);
    this.queuedBytes += bytes.length;
    this.connection.queuedBytes += bytes.length;
  }
}

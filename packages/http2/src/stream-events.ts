/** What a stream shares with its handler and with its connection. */
import type { IncomingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import type { FrameWriter } from "./frame-writer.js";
import type { RequestStream } from "./stream.js";

/** Header or trailer fields by lower-case name. */
export type Fields = Readonly<Record<string, string>>;

/**
 * Receives the events of a stream. None of these should throw: an exception goes to `onFault` of the server and ends the connection.
 */
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

/** A request whose header fields arrived. */
export interface StreamOptions {
  readonly id: number;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
  /** The size of the header fields: RFC 9113 section 10.5.1. */
  readonly headBytes: number;
  /** Whether the header fields are the whole request. */
  readonly isRequestComplete: boolean;
  readonly contentLength: number | undefined;
  readonly receiveWindowBytes: number;
  readonly sendWindowBytes: number;
}

/** What a stream uses of its connection. */
export interface StreamConnection {
  readonly socket: Duplex;
  readonly writer: FrameWriter;
  /** Whether no more streams are accepted. */
  readonly isDraining: boolean;
  /** Counts consumed bytes, so that the peer may send more on the connection. */
  consume(bytes: number): void;
  /** Adds to the bytes of requests without a response; false if these exceed a limit. May reset streams. */
  countIncomplete(bytes: number): boolean;
  /** Adds to the unsent bytes of all responses. Above a limit, resets streams with most of them. */
  countUnsent(bytes: number): void;
  /** Sends RST_STREAM. */
  sendReset(streamId: number, code: number): void;
  /** Forgets a stream that is closed. */
  remove(stream: RequestStream): void;
  /** Closes the connection if this was the last stream and no more are accepted. */
  closeIfDrained(): void;
  /** Runs code that may throw: an exception ends the connection, not the process. */
  guarded(run: () => void): void;
}

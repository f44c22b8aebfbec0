/**
 * One HTTP request and its response on any transport. Each transport of the listener implements this interface; the protocol handlers know
 * nothing else of HTTP.
 */
import type { ConnectError } from "@connectrpc/connect";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

/** Header or trailer fields by lower-case name. Do not modify them after they are passed on: responses may share them. */
export type Fields = Record<string, string>;

/** A piece of a response body. Text is sent as UTF-8. */
export type Chunk = string | Uint8Array;

/** A request without its body. */
export interface RequestHead {
  readonly httpVersion: "1.0" | "1.1" | "2.0";
  readonly method: string;
  /** The request target (RFC 9112 section 3.2), which is `:path` over HTTP/2. */
  readonly target: string;
  /** In the form of Node's `IncomingMessage.headers`; over HTTP/2 with the pseudo-header fields. */
  readonly headers: IncomingHttpHeaders;
  /** `Host` or `:authority`. */
  readonly authority: string | undefined;
  /** The connection: the same object for all of its requests. */
  readonly socket: Duplex;
}

/** What a call observes of its client. */
export interface ClientPresence {
  /** Whether the client disconnected or canceled the request, or the response is complete. */
  readonly isClosed: boolean;
  /** Calls the listener if the client disconnects or cancels before the response is complete; at once if it already has. */
  onAbandoned(listener: () => void): void;
}

/** Receives a request body. */
export interface BodyReader {
  receive(chunk: Buffer): void;
  /** The body is complete. */
  received(): void;
  /** The body can't be decoded; the reader is not called again. Absent: the reader reads no encoded bodies. */
  failed?(error: ConnectError): void;
}

export interface Exchange extends RequestHead, ClientPresence {
  /** Fields that handlers add to every response to this request, such as CORS headers. The transport does not send them by itself. */
  readonly commonFields: Fields;
  /** Whether the client waits for `sendContinue` before it sends the body. */
  readonly expectsContinue: boolean;
  /** Whether the request may have a body. */
  readonly hasBody: boolean;
  /** Whether the response head was sent. */
  readonly hasResponded: boolean;
  /** Whether writers should wait for `onDrained`. */
  readonly isFull: boolean;

  /** Sends `100 Continue`. */
  sendContinue(): void;
  /**
   * Reads the body; called at most once. The reader may be called before this returns, and is not called after the client has left.
   * `isPaced`: the client may send more only after `resumeBody`; the reader still receives what was already in flight. Default: false.
   */
  read(reader: BodyReader, isPaced?: boolean): void;
  resumeBody(): void;
  /** What the reader received so far is processed: it no longer counts towards the memory of incomplete requests. */
  releaseBody(): void;

  /**
   * Sends a complete response. Without a body it has no content. HTTP/1.1 adds a `content-length` if there is none. `trailers` need HTTP/2.
   * Throws a TypeError, and sends nothing, for an invalid field. No effect on a closed exchange, or once it has
   * responded.
   */
  respond(status: number, fields: Readonly<Fields>, body?: Chunk, trailers?: Readonly<Fields>): void;
  /** Sends the head of a response whose body follows by `write` and `end`. Throws like `respond`. */
  start(status: number, fields: Readonly<Fields>): void;
  /** Sends pieces of the body, in one write if possible. */
  write(chunks: readonly Chunk[]): void;
  /** Ends the response. Throws a TypeError for an invalid trailer. */
  end(chunk?: Chunk, trailers?: Readonly<Fields>): void;
  /** Cuts the response, so the client does not mistake it for a complete one: resets the stream, or closes the connection. */
  reset(): void;
  /** Calls the listener once, when `isFull` is false again. */
  onDrained(listener: () => void): void;
}

/** A request to switch to WebSocket (RFC 9110 section 7.8). Listeners ignore other upgrades. */
export interface Upgrade extends RequestHead, ClientPresence {
  /** For libraries that perform the handshake. */
  readonly request: IncomingMessage;
  /** What the client sent after the request. */
  readonly head: Buffer;
  /** Call it after each write to the socket: counts what waits to be sent. */
  countUnsent(): void;
  /** Continues as a normal request, whose response closes the connection. */
  decline(): Exchange;
}

/** Receives the requests of a listener. An exception ends the connection or stream of its request. */
export interface RequestHandler {
  handle(exchange: Exchange): void;
  /**
   * Handles a simple HTTP/1.1 request. Returns false, having read and written nothing, to receive it by `handle` from Node's server.
   * Absent: Node's server receives all HTTP/1.1 requests.
   */
  handleSimple?(exchange: Exchange): boolean;
  handleUpgrade(upgrade: Upgrade): void;
}

/**
 * Adapts a RequestStream to Node's ServerHttp2Stream, for Http2ServerRequest and Http2ServerResponse. The stock adapter and the handlers
 * that serve both HTTP/1.1 and HTTP/2 use these. (https://nodejs.org/api/http2.html#class-serverhttp2stream)
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import { Http2ServerRequest, Http2ServerResponse, type ServerHttp2Stream } from "node:http2";
import { Duplex } from "node:stream";
import { ErrorCode, type Fields, type RequestStream, type StreamListener } from "@ironflow-kv/http2";

/** The adapter implements a subset of ServerHttp2Stream. It has no `session`, but a `connection`. */
type NodeStream = ServerHttp2Stream & { readonly connection: object };

/** The connection of a request: the same object for all requests on the connection. */
export function connectionOf(request: { readonly stream: ServerHttp2Stream }): object {
  return (request.stream as NodeStream).connection;
}

/** A stream's request and response in Node's compatibility API. */
export function nodeCallOf(stream: RequestStream): [Http2ServerRequest, Http2ServerResponse] {
  const nodeStream = new StreamOfNode(stream) as unknown as NodeStream;
  return [
    new Http2ServerRequest(nodeStream, stream.headers, {}, [...stream.rawHeaders]),
    new Http2ServerResponse(nodeStream),
  ];
}

interface RespondOptions {
  readonly endStream?: boolean;
  readonly waitForTrailers?: boolean;
}

class StreamOfNode extends Duplex implements StreamListener {
  readonly session = undefined;
  readonly pushAllowed = false;
  /** Whether the request had no body. */
  readonly endAfterHeaders: boolean;
  aborted = false;
  private waitsForTrailers = false;
  private trailers: Fields | undefined;
  private afterDrain: (() => void) | undefined;

  constructor(private readonly stream: RequestStream) {
    super({ allowHalfOpen: true, autoDestroy: false, emitClose: true, decodeStrings: true });
    this.endAfterHeaders = stream.isRequestComplete;
    // A reset cancels the call, which `close` reports. Without a listener, `error` would crash the process.
    this.on("error", () => undefined);
    stream.listener = this;
    stream.consumesOnReceipt = false;
    if (stream.isRequestComplete) this.push(null);
  }

  get id(): number {
    return this.stream.id;
  }
  get connection(): object {
    return this.stream.connection;
  }
  get headersSent(): boolean {
    return this.stream.hasResponded;
  }
  get headRequest(): boolean {
    return this.stream.headers[":method"] === "HEAD";
  }
  get rstCode(): number {
    return this.stream.resetCode;
  }

  additionalHeaders(headers: OutgoingHttpHeaders): void {
    this.stream.inform(Number(headers[":status"]));
  }

  respond(headers: OutgoingHttpHeaders, options: RespondOptions = {}): void {
    const status = Number(headers[":status"] ?? 200);
    // RFC 9110 section 6.4.1: these responses have no content.
    const isEnd = options.endStream === true || this.headRequest || status === 204 || status === 304;
    this.waitsForTrailers = options.waitForTrailers === true && !isEnd;
    this.stream.respond(status, fieldsOf(headers), isEnd);
    if (isEnd) this.end();
  }

  sendTrailers(trailers: OutgoingHttpHeaders): void {
    this.trailers = fieldsOf(trailers);
  }

  close(code: number = ErrorCode.noError): void {
    // Written data is still sent; the stream then closes by itself.
    if (code === ErrorCode.noError && this.writableEnded) return;
    this.stream.reset(code);
  }

  setTimeout(): this {
    return this;
  }

  override _read(): void {
    this.stream.consume(this.stream.unconsumedBytes);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.stream.write(chunk);
    if (this.stream.isFull) this.afterDrain = done;
    else done();
  }

  override _final(done: (error?: Error) => void): void {
    if (!this.stream.isClosed) {
      if (this.waitsForTrailers) this.emit("wantTrailers");
      const hasTrailers = this.trailers !== undefined && Object.keys(this.trailers).length > 0;
      try {
        this.stream.end(undefined, hasTrailers ? this.trailers : undefined);
      } catch (error) {
        this.stream.reset(ErrorCode.internalError);
        done(error as Error);
        return;
      }
    }
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Reset instead of end, so the client does not mistake a truncated response for a complete one.
    this.stream.reset(
      error === null && !this.stream.hasResponded ? ErrorCode.cancel : ErrorCode.internalError,
    );
    this.drain();
    done(error);
  }

  receive(chunk: Buffer): void {
    if (this.push(chunk)) this.stream.consume(this.stream.unconsumedBytes);
  }

  received(trailers?: IncomingHttpHeaders): void {
    if (trailers !== undefined) this.emit("trailers", trailers, 0, []);
    this.push(null);
  }

  abandon(): void {
    if (!this.writableEnded) {
      this.aborted = true;
      this.emit("aborted");
    }
  }

  drain(): void {
    const { afterDrain } = this;
    this.afterDrain = undefined;
    afterDrain?.();
  }

  over(): void {
    this.drain();
    if (this.destroyed) return;
    if (!this.readableEnded) {
      this.push(null);
      this.resume();
    }
    const { resetCode } = this.stream;
    const isFault = resetCode !== ErrorCode.noError && resetCode !== ErrorCode.cancel;
    const error = isFault ? new Error(`The stream was reset with code ${resetCode}.`) : undefined;
    // After `end` and `finish`.
    setImmediate(() => this.destroy(error));
  }
}

function fieldsOf(headers: OutgoingHttpHeaders): Fields {
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    fields[name.toLowerCase()] = Array.isArray(value) ? value.join(", ") : String(value);
  }
  return fields;
}

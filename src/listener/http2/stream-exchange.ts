/** A request on a stream of `packages/http2`. */
import type { IncomingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import { ErrorCode, type RequestStream, type StreamListener } from "@ironflow-kv/http2";
import type { BodyReader, Chunk, Exchange, Fields } from "../../protocol/exchange.js";
import { Pieces } from "../../protocol/pieces.js";
import { Abandonment } from "../abandonment.js";
import { hasNoContent, textOf } from "../response-framing.js";

export class StreamExchange implements Exchange, StreamListener {
  readonly httpVersion = "2.0";
  readonly commonFields: Fields = {};
  private reader: BodyReader | undefined;
  /** What arrived before `read`. */
  private early: Pieces | undefined;
  private onceDrained: (() => void) | undefined;
  private readonly abandonment = new Abandonment();

  constructor(private readonly stream: RequestStream) {
    stream.listener = this;
    // Until the body is read.
    stream.consumesOnReceipt = false;
  }

  get method(): string {
    return textOf(this.headers[":method"]) ?? "";
  }
  get target(): string {
    return textOf(this.headers[":path"]) ?? "";
  }
  get headers(): IncomingHttpHeaders {
    return this.stream.headers;
  }
  get authority(): string | undefined {
    return textOf(this.headers[":authority"]) ?? this.headers.host;
  }
  get socket(): Duplex {
    return this.stream.connection.socket;
  }
  get expectsContinue(): boolean {
    return this.headers.expect?.toLowerCase() === "100-continue";
  }
  get hasBody(): boolean {
    return this.early !== undefined || !this.stream.isRequestComplete;
  }
  get hasResponded(): boolean {
    return this.stream.hasResponded;
  }
  get isClosed(): boolean {
    return this.stream.isClosed;
  }
  get isFull(): boolean {
    return this.stream.isFull;
  }

  onAbandoned(listener: () => void): void {
    this.abandonment.listen(listener);
  }

  sendContinue(): void {
    this.stream.inform(100);
  }

  read(reader: BodyReader, isPaced = false): void {
    const { stream, early } = this;
    this.reader = reader;
    this.early = undefined;
    stream.consumesOnReceipt = !isPaced;
    if (early !== undefined) reader.receive(early.takeAll());
    if (stream.isRequestComplete) reader.received();
    else if (!isPaced) this.resumeBody();
  }

  releaseBody(): void {
    this.stream.releaseBody();
  }

  resumeBody(): void {
    const { unconsumedBytes } = this.stream;
    if (unconsumedBytes > 0) this.stream.consume(unconsumedBytes);
  }

  respond(status: number, fields: Readonly<Fields>, body?: Chunk, trailers?: Readonly<Fields>): void {
    const isEmpty = body === undefined || body.length === 0 || hasNoContent(this.method, status);
    const isEnd = isEmpty && trailers === undefined;
    this.discardUnread();
    this.stream.respond(status, fields, isEnd);
    if (!isEnd) this.stream.end(isEmpty ? undefined : bytesOf(body), trailers);
  }

  start(status: number, fields: Readonly<Fields>): void {
    this.discardUnread();
    this.stream.respond(status, fields, hasNoContent(this.method, status));
  }

  write(chunks: readonly Chunk[]): void {
    this.stream.writeAll(chunks.map(bytesOf));
  }

  end(chunk?: Chunk, trailers?: Readonly<Fields>): void {
    this.stream.end(chunk === undefined ? undefined : bytesOf(chunk), trailers);
  }

  reset(): void {
    this.stream.reset(ErrorCode.internalError);
  }

  onDrained(listener: () => void): void {
    this.onceDrained = listener;
  }

  receive(chunk: Buffer): void {
    if (this.reader === undefined) (this.early ??= new Pieces()).add(chunk);
    else this.reader.receive(chunk);
  }

  received(): void {
    this.reader?.received();
  }

  abandon(): void {
    this.abandonment.happen();
  }

  /** A body that nobody has read when the response begins is not read any more. */
  private discardUnread(): void {
    if (this.reader !== undefined) return;
    this.early = undefined;
    this.stream.discardBody();
  }

  drain(): void {
    const { onceDrained } = this;
    this.onceDrained = undefined;
    onceDrained?.();
  }
}

function bytesOf(chunk: Chunk): Uint8Array {
  return typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}

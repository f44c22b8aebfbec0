/** A request on a stream of Node's HTTP/2 server. */
import { type IncomingHttpHeaders, validateHeaderValue } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { type ByteAccount, LATE_BODY_BYTES_MAX } from "@ironflow-kv/http2";
import type { BodyReader, Chunk, Exchange, Fields } from "../../protocol/exchange.js";
import { Abandonment } from "../abandonment.js";
import type { MemoryBudgets } from "../memory-budgets.js";
import { hasNoContent, textOf } from "../response-framing.js";

export class NodeHttp2Exchange implements Exchange {
  readonly httpVersion = "2.0";
  readonly commonFields: Fields = {};
  private reader: BodyReader | undefined;
  private isPaced = false;
  private isComplete = false;
  private trailers: Readonly<Fields> | undefined;
  private readonly abandonment = new Abandonment();
  /** The bytes of the request until the response. */
  private readonly held: ByteAccount;

  constructor(
    private readonly stream: ServerHttp2Stream,
    readonly headers: IncomingHttpHeaders,
    readonly socket: Duplex,
    private readonly budgets: MemoryBudgets,
  ) {
    this.held = budgets.incompleteRequests.open(() => {
      // A complete request may have begun.
      if (this.hasBody && !stream.readableEnded) this.refuse();
    });
    // A reset cancels the call, which `close` reports.
    stream.on("error", () => undefined);
    // `end` follows a reset as if the body were complete, but `aborted` precedes it.
    stream.on("aborted", () => this.abandon());
    stream.on("close", () => {
      this.held.close();
      this.abandon();
    });
    stream.once("wantTrailers", () => stream.sendTrailers({ ...this.trailers }));
    if (this.hasBody) stream.once("finish", () => this.discardRest());
  }

  /** Counts the head of the request. Returns false if too many bytes are held: it is refused then. */
  admit(): boolean {
    this.held.add(headBytesOf(this.headers));
    if (this.budgets.incompleteRequests.isExceeded) this.refuse();
    return !this.isClosed;
  }

  get method(): string {
    return textOf(this.headers[":method"]) ?? "";
  }
  get target(): string {
    return textOf(this.headers[":path"]) ?? "";
  }
  get authority(): string | undefined {
    return textOf(this.headers[":authority"]) ?? this.headers.host;
  }
  get expectsContinue(): boolean {
    return this.headers.expect?.toLowerCase() === "100-continue";
  }
  get hasBody(): boolean {
    return !this.stream.endAfterHeaders;
  }
  get hasResponded(): boolean {
    return this.stream.headersSent;
  }
  get isClosed(): boolean {
    return this.stream.destroyed || this.stream.closed;
  }
  get isFull(): boolean {
    return this.stream.writableNeedDrain;
  }

  onAbandoned(listener: () => void): void {
    this.abandonment.listen(listener);
  }

  sendContinue(): void {
    if (!this.isClosed) this.stream.additionalHeaders({ ":status": 100 });
  }

  read(reader: BodyReader, isPaced = false): void {
    const { stream } = this;
    this.isPaced = isPaced;
    if (!this.hasBody) {
      reader.received();
      return;
    }
    this.reader = reader;
    stream.on("data", (chunk: Buffer) => {
      if (this.reader === undefined) return;
      if (this.isPaced) stream.pause();
      this.held.add(chunk.length);
      this.reader.receive(chunk);
    });
    stream.on("end", () => this.reader?.received());
  }

  resumeBody(): void {
    this.stream.resume();
  }

  releaseBody(): void {
    this.held.set(0);
  }

  respond(status: number, fields: Readonly<Fields>, body?: Chunk, trailers?: Readonly<Fields>): void {
    const isEmpty = body === undefined || body.length === 0 || hasNoContent(this.method, status);
    if (isEmpty && trailers === undefined) {
      this.sendHead(status, fields, true);
      return;
    }
    this.sendHead(status, fields, false);
    this.end(isEmpty ? undefined : body, trailers);
  }

  start(status: number, fields: Readonly<Fields>): void {
    this.sendHead(status, fields, hasNoContent(this.method, status));
  }

  write(chunks: readonly Chunk[]): void {
    const { stream } = this;
    if (this.isClosed || this.isComplete) return;
    if (chunks.length > 1) stream.cork();
    for (const chunk of chunks) stream.write(chunk);
    if (chunks.length > 1) stream.uncork();
  }

  end(chunk?: Chunk, trailers?: Readonly<Fields>): void {
    if (this.isClosed || this.isComplete) return;
    validate(trailers);
    this.trailers = trailers;
    this.isComplete = true;
    this.stream.end(chunk);
  }

  reset(): void {
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  onDrained(listener: () => void): void {
    this.stream.once("drain", listener);
  }

  private sendHead(status: number, fields: Readonly<Fields>, isEnd: boolean): void {
    if (this.isClosed || this.hasResponded) return;
    validate(fields);
    this.isComplete = isEnd;
    this.releaseBody();
    this.stream.respond({ ":status": status, ...fields }, { endStream: isEnd, waitForTrailers: !isEnd });
  }

  /** V8 does not count the strings of heads, and so collects them late: the connection may open no more streams. */
  private refuse(): void {
    const { session } = this.stream;
    this.releaseBody();
    this.stream.close(constants.NGHTTP2_REFUSED_STREAM);
    if (session === undefined || session.closed) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.close();
  }

  /** Discards a bounded rest of the body after the response: several clients lose a response that is followed by a reset at once. */
  private discardRest(): void {
    const { stream } = this;
    this.reader = undefined;
    if (stream.readableEnded) return;
    if (this.isAwaited || stream.session?.closed === true) {
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    let bytes = 0;
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      // RFC 9113 section 8.1: asks the client to stop sending its body.
      if (bytes > LATE_BODY_BYTES_MAX) stream.close(constants.NGHTTP2_NO_ERROR);
    });
    stream.resume();
  }

  /** Whether the client waits for an interim response before it sends the body (RFC 9110 section 10.1.1). */
  private get isAwaited(): boolean {
    return this.expectsContinue && (this.stream.sentInfoHeaders?.length ?? 0) === 0;
  }

  private abandon(): void {
    if (this.isComplete) return;
    this.reader = undefined;
    this.abandonment.happen();
  }
}

function headBytesOf(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const name in headers) bytes += name.length + String(headers[name]).length;
  return bytes;
}

/** Throws a TypeError for a value that HTTP cannot carry: nghttp2 would reset the stream. */
function validate(fields: Readonly<Fields> | undefined): void {
  for (const name in fields) validateHeaderValue(name, fields[name] ?? "");
}

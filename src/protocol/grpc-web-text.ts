/**
 * gRPC-Web in base64, for clients that read responses as text, such as the official client's default mode:
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md. Handlers see such a request as binary gRPC-Web.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import type { BodyReader, Chunk, Exchange, Fields } from "./exchange.js";

const BINARY = "application/grpc-web";
const TEXT = "application/grpc-web-text";
const TEXT_TYPE = /^application\/grpc-web-text(?=[+;]|$)/i;

/** The exchange as binary gRPC-Web if its request or response is base64; otherwise the exchange itself. */
export function asBinaryGrpcWeb(exchange: Exchange): Exchange {
  const type = exchange.headers["content-type"];
  if (type?.toLowerCase().startsWith(BINARY) !== true) return exchange;
  const isTextRequest = TEXT_TYPE.test(type);
  const isTextResponse = wantsText(exchange.headers.accept, isTextRequest);
  return isTextRequest || isTextResponse
    ? new TextExchange(exchange, isTextRequest, isTextResponse)
    : exchange;
}

/** `Accept` decides the form of the response; if it names neither form, the request's form does. */
function wantsText(accept: string | undefined, isTextRequest: boolean): boolean {
  if (accept === undefined) return isTextRequest;
  const types = accept.split(",").map((type) => type.trim());
  if (types.some((type) => TEXT_TYPE.test(type))) return true;
  return isTextRequest && !types.some((type) => type.toLowerCase().startsWith(BINARY));
}

class TextExchange implements Exchange {
  readonly headers: IncomingHttpHeaders;
  /** Whether the started response is base64. */
  private isText = false;

  constructor(
    private readonly inner: Exchange,
    private readonly isTextRequest: boolean,
    private readonly isTextResponse: boolean,
  ) {
    const type = inner.headers["content-type"]?.replace(TEXT_TYPE, BINARY);
    this.headers = { ...inner.headers, "content-type": type };
  }

  get httpVersion(): Exchange["httpVersion"] {
    return this.inner.httpVersion;
  }
  get method(): string {
    return this.inner.method;
  }
  get target(): string {
    return this.inner.target;
  }
  get authority(): string | undefined {
    return this.inner.authority;
  }
  get socket(): Exchange["socket"] {
    return this.inner.socket;
  }
  get isClosed(): boolean {
    return this.inner.isClosed;
  }
  get commonFields(): Fields {
    return this.inner.commonFields;
  }
  get expectsContinue(): boolean {
    return this.inner.expectsContinue;
  }
  get hasBody(): boolean {
    return this.inner.hasBody;
  }
  get hasResponded(): boolean {
    return this.inner.hasResponded;
  }
  get isFull(): boolean {
    return this.inner.isFull;
  }

  sendContinue(): void {
    this.inner.sendContinue();
  }
  read(reader: BodyReader, isPaced?: boolean): void {
    const more = (): void => this.inner.resumeBody();
    this.inner.read(this.isTextRequest ? new TextReader(reader, more) : reader, isPaced);
  }
  resumeBody(): void {
    this.inner.resumeBody();
  }
  releaseBody(): void {
    this.inner.releaseBody();
  }
  onAbandoned(listener: () => void): void {
    this.inner.onAbandoned(listener);
  }
  onDrained(listener: () => void): void {
    this.inner.onDrained(listener);
  }
  reset(): void {
    this.inner.reset();
  }

  respond(status: number, fields: Readonly<Fields>, body?: Chunk, trailers?: Readonly<Fields>): void {
    const head = this.headOf(fields);
    this.inner.respond(status, head, body === undefined ? undefined : this.encoded([body]), trailers);
  }
  start(status: number, fields: Readonly<Fields>): void {
    this.inner.start(status, this.headOf(fields));
  }
  write(chunks: readonly Chunk[]): void {
    this.inner.write(this.isText ? [this.encoded(chunks)] : chunks);
  }
  end(chunk?: Chunk, trailers?: Readonly<Fields>): void {
    this.inner.end(chunk === undefined ? undefined : this.encoded([chunk]), trailers);
  }

  private headOf(fields: Readonly<Fields>): Readonly<Fields> {
    const type = fields["content-type"];
    this.isText = this.isTextResponse && type?.startsWith(BINARY) === true;
    if (!this.isText || type === undefined) return fields;
    const head: Fields = { ...fields, "content-type": type.replace(BINARY, TEXT) };
    // It counted the bytes before they were encoded.
    delete head["content-length"];
    return head;
  }

  /** Each write is base64 of its own, with padding, so that the client can decode what has arrived. */
  private encoded(chunks: readonly Chunk[]): Chunk {
    const [first = ""] = chunks;
    if (!this.isText) return first;
    const bytes = chunks.map((chunk) => (typeof chunk === "string" ? Buffer.from(chunk) : chunk));
    return Buffer.concat(bytes).toString("base64");
  }
}

/** Decodes a request's body for a reader. */
class TextReader implements BodyReader {
  private rest = "";
  private hasFailed = false;

  /** `more`: asks for the next chunk, where one has too little to decode. */
  constructor(
    private readonly reader: BodyReader,
    private readonly more: () => void,
  ) {}

  receive(chunk: Buffer): void {
    if (this.hasFailed) return;
    const text = this.rest + chunk.toString("latin1");
    const end = text.length - (text.length % 4);
    this.rest = text.slice(end);
    if (end === 0) {
      this.more();
      return;
    }
    const bytes = decodeBase64(text.slice(0, end));
    if (bytes === undefined) this.fail();
    else this.reader.receive(bytes);
  }

  received(): void {
    if (this.hasFailed) return;
    if (this.rest === "") this.reader.received();
    else this.fail();
  }

  private fail(): void {
    this.hasFailed = true;
    this.reader.failed?.(
      new ConnectError(
        "The body is not base64; application/grpc-web-text requires it.",
        Code.InvalidArgument,
      ),
    );
  }
}

const ALPHABET = /^[A-Za-z0-9+/=]*$/;
/** Text up to and with its padding. Clients may concatenate several. */
const PADDED = /[^=]*={1,2}|[^=]+$/g;

/** Decodes base64 (RFC 4648 section 4) of a multiple of four characters; undefined if it is malformed. */
function decodeBase64(text: string): Buffer | undefined {
  if (!ALPHABET.test(text)) return undefined;
  if (!text.includes("=")) return Buffer.from(text, "base64");
  const parts = text.match(PADDED) ?? [];
  const isValid = parts.every((part) => part.length % 4 === 0);
  return isValid ? Buffer.concat(parts.map((part) => Buffer.from(part, "base64"))) : undefined;
}

/**
 * A simple HTTP/1.1 request that bypassed Node's server. Responses are written together at the end of the event loop turn, each in one write:
 * with writes spread over the turn, the OS may wake the client's process for each one, which costs more than the write.
 */
import { type IncomingHttpHeaders, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { dateText } from "@ironflow-kv/http2";
import type { BodyReader, Chunk, Exchange, Fields } from "../../protocol/exchange.js";
import { Abandonment } from "../abandonment.js";
import { missingLength } from "../response-framing.js";

/** A valid field value (RFC 9110 section 5.5). Anything else, such as a line break, could start another header. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Bodies up to this size are copied into one buffer with the head. */
const COPY_BYTES_MAX = 16_384;

/** A complete request. */
export interface SimpleRequest {
  readonly method: string;
  /** The request target: a path, optionally with a query. */
  readonly target: string;
  /** In the form of Node's `IncomingMessage.headers`. */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface SimpleExchangeOptions {
  /** Whether the connection closes after this response. */
  readonly isLast: () => boolean;
  readonly keepAliveSeconds: number;
  /** Called after each write to the socket. */
  readonly onWritten: () => void;
  /** Called when the response has been written. */
  readonly onEnd: (isLast: boolean) => void;
}

/** Responses to write at the end of this event loop turn. */
let pending: SimpleExchange[] = [];

function writePending(): void {
  const exchanges = pending;
  pending = [];
  for (const exchange of exchanges) exchange.flush();
}

export class SimpleExchange implements Exchange {
  readonly httpVersion = "1.1";
  readonly expectsContinue = false;
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly commonFields: Fields = {};
  hasResponded = false;
  private readonly requestBody: Buffer;
  private head = "";
  private responseBody: Chunk | undefined;
  private isLast = false;
  private isComplete = false;
  private abandonment: Abandonment | undefined;

  constructor(
    request: SimpleRequest,
    readonly socket: Socket,
    private readonly options: SimpleExchangeOptions,
  ) {
    this.method = request.method;
    this.target = request.target;
    this.headers = request.headers;
    this.requestBody = request.body;
  }

  get authority(): string | undefined {
    return this.headers.host;
  }
  get hasBody(): boolean {
    return this.requestBody.length > 0;
  }
  get isClosed(): boolean {
    return this.isComplete || this.socket.destroyed;
  }
  get isFull(): boolean {
    return this.socket.writableNeedDrain;
  }

  onAbandoned(listener: () => void): void {
    if (this.isComplete) return;
    if (this.socket.destroyed) listener();
    else (this.abandonment ??= new Abandonment()).listen(listener);
  }

  sendContinue(): void {
    // A simple request arrived with its body.
  }

  read(reader: BodyReader): void {
    if (this.hasBody) reader.receive(this.requestBody);
    reader.received();
  }

  resumeBody(): void {
    // A simple request arrived with its body.
  }

  releaseBody(): void {
    // A simple request is complete and small: its bytes do not count.
  }

  respond(status: number, fields: Readonly<Fields>, body?: Chunk): void {
    if (this.hasResponded) return;
    const length = missingLength(status, fields, body);
    this.head = this.headOf(status, fields, length === undefined ? "" : `content-length: ${length}\r\n`);
    this.responseBody = body;
    this.hasResponded = true;
    this.isComplete = true;
    if (pending.length === 0) setImmediate(writePending);
    pending.push(this);
  }

  /** Starts a chunked response (RFC 9112 section 7.1). */
  start(status: number, fields: Readonly<Fields>): void {
    if (this.hasResponded) return;
    const head = this.headOf(status, fields, "transfer-encoding: chunked\r\n");
    this.hasResponded = true;
    this.socket.write(head, "latin1");
  }

  write(chunks: readonly Chunk[]): void {
    if (this.isClosed) return;
    this.socket.cork();
    for (const chunk of chunks) this.writeChunk(chunk);
    this.socket.uncork();
    this.options.onWritten();
  }

  end(chunk?: Chunk): void {
    if (this.isClosed) return;
    this.isComplete = true;
    this.socket.cork();
    if (chunk !== undefined) this.writeChunk(chunk);
    this.socket.write("0\r\n\r\n");
    this.socket.uncork();
    this.options.onWritten();
    this.options.onEnd(this.isLast);
  }

  reset(): void {
    this.socket.destroy();
  }

  onDrained(listener: () => void): void {
    this.socket.once("drain", listener);
  }

  /** Called when the connection has closed. */
  close(): void {
    if (!this.isComplete) this.abandonment?.happen();
  }

  /** Writes the response; called once, after `respond`. */
  flush(): void {
    const { socket, head, responseBody: body } = this;
    if (typeof body === "string") {
      if (isAscii(body)) socket.write(head + body, "latin1");
      else socket.write(Buffer.concat([Buffer.from(head, "latin1"), Buffer.from(body)]));
    } else if (body === undefined || body.length === 0) {
      socket.write(head, "latin1");
    } else if (body.length <= COPY_BYTES_MAX) {
      const bytes = Buffer.allocUnsafe(head.length + body.length);
      bytes.write(head, "latin1");
      bytes.set(body, head.length);
      socket.write(bytes);
    } else {
      socket.cork();
      socket.write(head, "latin1");
      socket.write(body);
      socket.uncork();
    }
    this.options.onWritten();
    this.options.onEnd(this.isLast);
  }

  /** An empty chunk would end the body. */
  private writeChunk(chunk: Chunk): void {
    const bytes = typeof chunk === "string" ? Buffer.byteLength(chunk) : chunk.length;
    if (bytes === 0) return;
    this.socket.write(`${bytes.toString(16)}\r\n`);
    this.socket.write(chunk);
    this.socket.write("\r\n");
  }

  private headOf(status: number, fields: Readonly<Fields>, framing: string): string {
    let lines = "";
    for (const name in fields) lines += `${name}: ${checked(name, fields[name] ?? "")}\r\n`;
    this.isLast = this.options.isLast();
    const connection = this.isLast
      ? "close"
      : `keep-alive\r\nKeep-Alive: timeout=${this.options.keepAliveSeconds}`;
    return (
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n${lines}${framing}` +
      `Date: ${dateText()}\r\nConnection: ${connection}\r\n\r\n`
    );
  }
}

function checked(name: string, value: string): string {
  if (!VALUE.test(value))
    throw new TypeError(`The header ${name} has an invalid value; it must be printable Latin-1.`);
  return value;
}

/** Whether the text is ASCII, which UTF-8 and Latin-1 encode alike. */
function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

/**
 * The response to a plain request: the subset of Node's ServerResponse that handlers use. Responses are written together at the end of the
 * event loop turn, each in one write: with writes spread over the turn, the OS may wake the client's process for each one, which costs
 * more than the write.
 */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { dateText } from "@ironflow-kv/http2";
import type { PlainRequest } from "./plain-request.js";

/** A valid field value (RFC 9110 section 5.5). Anything else, such as a line break, could start another header. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Bodies up to this size are copied into one buffer with the head. */
const COPY_BYTES_MAX = 16_384;

/** Undefined values are omitted. */
type Headers = Readonly<Record<string, string | number | readonly string[] | undefined>>;

export interface PlainResponseOptions {
  /** Whether the connection closes after this response. */
  readonly isLast: () => boolean;
  readonly keepAliveSeconds: number;
  /** Called when the response has been written. */
  readonly onEnd: (isLast: boolean) => void;
}

/** Responses to write at the end of this event loop turn. */
let pending: PlainResponse[] = [];

function writePending(): void {
  const responses = pending;
  pending = [];
  for (const response of responses) response.write();
}

export class PlainResponse {
  headersSent = false;
  /** Headers from `setHeader`. */
  private headers: Record<string, Headers[string]> | undefined;
  private head = "";
  private body: string | Uint8Array | undefined;
  private isLast = false;
  private onClose: (() => void)[] = [];

  constructor(
    readonly req: PlainRequest,
    private readonly socket: Socket,
    private readonly options: PlainResponseOptions,
  ) {}

  get destroyed(): boolean {
    return this.socket.destroyed;
  }

  setHeader(name: string, value: string): void {
    this.headers ??= {};
    this.headers[name.toLowerCase()] = value;
  }

  hasHeader(name: string): boolean {
    return this.headers?.[name] !== undefined;
  }

  /** `close`: the connection closed before the response was complete. `drain`: the socket's write buffer is empty. */
  once(event: "close" | "drain", listener: () => void): void {
    if (event === "close") this.onClose.push(listener);
    else this.socket.once("drain", listener);
  }

  /**
   * Sends a complete response. Header names are in lower case; `headers` override those from `setHeader`. `requestId` becomes
   * `x-request-id`. Throws a TypeError, and sends nothing, if a header value is invalid.
   */
  answer(
    status: number,
    headers: Headers,
    requestId: string | undefined,
    body: string | Uint8Array | undefined,
  ): void {
    if (this.headersSent) return;
    let framing = "";
    if (body !== undefined) {
      const bytes = typeof body === "string" ? Buffer.byteLength(body) : body.length;
      framing = `content-length: ${bytes}\r\n`;
    } else if (status !== 204 && status !== 304) {
      framing = "content-length: 0\r\n";
    }
    this.head = this.headOf(status, headers, requestId, framing);
    this.body = body;
    this.headersSent = true;
    this.onClose = [];
    if (pending.length === 0) setImmediate(writePending);
    pending.push(this);
  }

  /** Starts a chunked response (RFC 9112 section 7.1). Throws like `answer`. */
  begin(status: number, headers: Headers, requestId: string | undefined): void {
    const head = this.headOf(status, headers, requestId, "transfer-encoding: chunked\r\n");
    this.headersSent = true;
    this.socket.write(head, "latin1");
  }

  /** Sends a non-empty chunk. If it returns false, wait for `drain` before the next one. */
  writeChunk(text: string): boolean {
    return this.socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  }

  /** Sends the last chunk. */
  endChunks(text: string): void {
    this.onClose = [];
    this.writeChunk(text);
    this.socket.write("0\r\n\r\n");
    this.options.onEnd(this.isLast);
  }

  private headOf(status: number, headers: Headers, requestId: string | undefined, framing: string): string {
    let lines = linesOf(headers, undefined);
    if (this.headers !== undefined) lines += linesOf(this.headers, headers);
    if (requestId !== undefined) lines += `x-request-id: ${checked("x-request-id", requestId)}\r\n`;
    this.isLast = this.options.isLast();
    const connection = this.isLast
      ? "close"
      : `keep-alive\r\nKeep-Alive: timeout=${this.options.keepAliveSeconds}`;
    return (
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n${lines}${framing}` +
      `Date: ${dateText()}\r\nConnection: ${connection}\r\n\r\n`
    );
  }

  /** Writes the response; called once, after `answer`. */
  write(): void {
    const { socket, head, body } = this;
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
    this.options.onEnd(this.isLast);
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Called when the connection has closed. */
  close(): void {
    for (const listener of this.onClose.splice(0)) listener();
  }
}

/** The header lines, except of headers that `others` also has. */
function linesOf(headers: Headers, others: Headers | undefined): string {
  let lines = "";
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && others?.[name] === undefined)
      lines += `${name}: ${checked(name, String(value))}\r\n`;
  }
  return lines;
}

function checked(name: string, value: string): string {
  if (!VALUE.test(value))
    throw new TypeError(`the header ${name} has an invalid value; it must be printable Latin-1`);
  return value;
}

/** Whether the text is ASCII, which UTF-8 and Latin-1 encode alike. */
function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

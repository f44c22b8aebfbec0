/**
 * The answer to a plain request: of Node's ServerResponse just what is used of it there. The answers of one turn of the event loop leave at
 * its end, one right behind the other, each in one write: where writes lie apart, the system may wake a client's process for each anew,
 * which costs more than the write.
 */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { dateText } from "@ironflow-kv/http2";
import type { PlainRequest } from "./plain-request.js";

/** RFC 9110 section 5.5; what else a value may not have, such as line ends, would begin another header. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Above this a body is not copied behind its head. */
const COPY_BYTES_MAX = 16_384;

/** Numbers and texts alike; undefined: left out. */
type Headers = Readonly<Record<string, string | number | readonly string[] | undefined>>;

export interface PlainResponseOptions {
  /** Whether the connection ends with this answer. */
  readonly isLast: () => boolean;
  readonly keepAliveSeconds: number;
  /** Told when the answer is written. */
  readonly onEnd: (isLast: boolean) => void;
}

/** Those whose answers are to be written in this turn. */
let answered: PlainResponse[] = [];

function writeAnswered(): void {
  const responses = answered;
  answered = [];
  for (const response of responses) response.write();
}

export class PlainResponse {
  headersSent = false;
  /** What was set before the answer. */
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

  /** `close`: the connection ended before the answer. `drain`: the client took what waited. */
  once(event: "close" | "drain", listener: () => void): void {
    if (event === "close") this.onClose.push(listener);
    else this.socket.once("drain", listener);
  }

  /**
   * Answers. Names are in lower case; those of `setHeader` come besides, where `headers` has not the same. The request's id is a header of its
   * own. Throws a TypeError where a header can't be sent; nothing is sent then.
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
    if (answered.length === 0) setImmediate(writeAnswered);
    answered.push(this);
  }

  /** Begins an answer in chunks (RFC 9112 section 7.1). Throws as `answer` does. */
  begin(status: number, headers: Headers, requestId: string | undefined): void {
    const head = this.headOf(status, headers, requestId, "transfer-encoding: chunked\r\n");
    this.headersSent = true;
    this.socket.write(head, "latin1");
  }

  /** Sends a chunk that is not empty; false where the client is slow: continue at `drain`. */
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

  /** To be called once, after `answer`. */
  write(): void {
    const { socket, head, body } = this;
    if (typeof body === "string") {
      if (isLatin1(body)) socket.write(head + body, "latin1");
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

  /** The connection is gone. */
  close(): void {
    for (const listener of this.onClose.splice(0)) listener();
  }
}

/** The lines of headers, but of those that `others` has too. */
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
  if (!VALUE.test(value)) throw new TypeError(`the header ${name} can't have this value`);
  return value;
}

/** Whether UTF-8 and Latin-1 write it alike: it is ASCII. */
function isLatin1(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

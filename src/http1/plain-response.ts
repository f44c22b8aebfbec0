/** The answer to a plain request: of Node's ServerResponse just what is used of it there. It leaves in one write. */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { dateText } from "../http2/date.js";
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
  /** Told when the answer is complete. */
  readonly onEnd: (isLast: boolean) => void;
}

export class PlainResponse {
  headersSent = false;
  private readonly headers: Record<string, Headers[string]> = {};
  private isEnded = false;
  private head = "";
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
    this.headers[name.toLowerCase()] = value;
  }

  hasHeader(name: string): boolean {
    return Object.hasOwn(this.headers, name);
  }

  /** Tells of the connection's end before that of the answer. */
  once(_event: "close", listener: () => void): void {
    this.onClose.push(listener);
  }

  /** Names are in lower case. Throws a TypeError where a header can't be sent; nothing is sent then. */
  writeHead(status: number, headers: Headers): void {
    this.isLast = this.options.isLast();
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n`;
    Object.assign(this.headers, headers);
    for (const name in this.headers) {
      const value = this.headers[name];
      if (value === undefined) continue;
      const text = String(value);
      if (!VALUE.test(text)) throw new TypeError(`the header ${name} can't have this value`);
      head += `${name}: ${text}\r\n`;
    }
    if (headers["content-length"] === undefined && status !== 204 && status !== 304)
      head += "content-length: 0\r\n";
    const connection = this.isLast
      ? "close"
      : `keep-alive\r\nKeep-Alive: timeout=${this.options.keepAliveSeconds}`;
    this.head = `${head}Date: ${dateText()}\r\nConnection: ${connection}\r\n\r\n`;
    this.headersSent = true;
  }

  end(body?: string | Uint8Array): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.onClose = [];
    const { socket, head } = this;
    if (typeof body === "string") {
      socket.write(
        isLatin1(body) ? head + body : Buffer.concat([Buffer.from(head, "latin1"), Buffer.from(body)]),
        "latin1",
      );
    } else if (body === undefined || body.length <= COPY_BYTES_MAX) {
      const bytes = Buffer.allocUnsafe(head.length + (body?.length ?? 0));
      bytes.write(head, "latin1");
      if (body !== undefined) bytes.set(body, head.length);
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

/** Whether UTF-8 and Latin-1 write it alike: it is ASCII. */
function isLatin1(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

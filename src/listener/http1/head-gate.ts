/**
 * Passes what a connection receives to Node's parser, but each request head and trailer section only once it is complete, in one piece. The
 * parser copies the fields of a section that arrives in several pieces, one copy for each of its 32 slots for fields, and frees a copy only
 * when its slot is used again: not with the request, and not with the connection, because Node reuses parsers
 * (StringPtr in src/node_http_parser.cc, FreeList in lib/_http_common.js). Neither V8 nor a budget counts these copies. Here, a section counts from its first
 * byte, and none of its strings exist before it is accepted.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { ByteAccount, ByteBudget } from "@ironflow-kv/http2";
import { Pieces } from "../../protocol/pieces.js";
import { ChunkedBody } from "./chunked-body.js";
import { unparsedHeadBytesOf } from "./head-bytes.js";
import { SectionEnd } from "./section-end.js";

export interface HeadGateOptions {
  readonly budget: ByteBudget;
  /** The longest section, in bytes. */
  readonly sectionBytesMax: number;
  /** Must close the connection: its section is too long, or too many bytes are held. */
  readonly refuse: (reason: "too long" | "overloaded") => void;
}

const CR = 0x0d;
const LF = 0x0a;
const UPPERCASE_A = 0x41;
const UPPERCASE_Z = 0x5a;

/**
 * A longer section is refused if there is no room for it, instead of displacing what has been accepted before: V8 collects the strings of
 * displaced heads late, and they would take several times the budget.
 */
const SHORT_BYTES_MAX = 8_192;

type Part = "head" | "body" | "chunks" | "trailers" | "nothing";

export class HeadGate {
  private readonly held: ByteAccount;
  private readonly parse: readonly ((bytes: Buffer) => void)[];
  /** What the next bytes belong to. "nothing": the connection closes. */
  private part: Part = "head";
  private readonly section = new Pieces();
  /** What the section will take as strings, as far as it has arrived. */
  private stringBytes = 0;
  private sectionEnd = new SectionEnd();
  private isInSection = false;
  private bodyBytes = 0;
  private chunks = new ChunkedBody();
  /** What follows the bytes that are being parsed. */
  private rest: Buffer | undefined;
  private isStopped = false;
  private readonly onData = (chunk: Buffer): void => this.receive(chunk);
  private readonly onClose = (): void => void this.stop();

  /** Node's server must be reading from the socket, and nothing else. */
  constructor(
    private readonly socket: Socket,
    private readonly options: HeadGateOptions,
  ) {
    this.held = options.budget.open(() => this.refuse("overloaded"));
    this.parse = socket.listeners("data") as ((bytes: Buffer) => void)[];
    for (const listener of this.parse) socket.off("data", listener);
    socket.on("data", this.onData);
    socket.on("close", this.onClose);
  }

  /** Must be called with each request that Node parsed, at once. */
  completed({ headers }: IncomingMessage): void {
    this.bodyBytes = Number(headers["content-length"] ?? 0);
    if (headers["transfer-encoding"] !== undefined) {
      this.chunks = new ChunkedBody();
      this.part = "chunks";
    } else {
      this.part = this.bodyBytes > 0 ? "body" : "head";
    }
  }

  /** Stops reading from the socket, which something else reads from now on. Returns the bytes that were read but not parsed. */
  stop(): Buffer {
    const rest = this.rest ?? Buffer.alloc(0);
    this.isStopped = true;
    this.socket.off("data", this.onData);
    this.socket.off("close", this.onClose);
    this.held.close();
    this.section.drop();
    return rest;
  }

  private receive(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.isStopped;) {
      // The parser must not receive anything while Node has paused the connection.
      if (this.socket.isPaused()) {
        this.socket.unshift(chunk.subarray(at));
        return;
      }
      at = this.pass(chunk, at);
    }
  }

  /** Passes on the next part, as far as it has arrived. Returns the position behind it. */
  private pass(chunk: Buffer, at: number): number {
    switch (this.part) {
      case "head":
      case "trailers":
        return this.passSection(chunk, at);
      case "body": {
        const end = Math.min(chunk.length, at + this.bodyBytes);
        this.bodyBytes -= end - at;
        if (this.bodyBytes === 0) this.part = "head";
        this.forward(chunk.subarray(at, end), chunk.subarray(end));
        return end;
      }
      case "chunks": {
        const end = this.chunks.scan(chunk, at);
        if (this.chunks.isAtTrailers) this.part = "trailers";
        if (end > at) this.forward(chunk.subarray(at, end), chunk.subarray(end));
        return end;
      }
      case "nothing":
        return chunk.length;
    }
  }

  private passSection(chunk: Buffer, at: number): number {
    const { part, section, sectionEnd } = this;
    if (part === "head" && !this.isInSection && isLineEnd(chunk[at])) return at + 1;
    const end = sectionEnd.find(chunk, at);
    const bytes = chunk.subarray(at, end ?? chunk.length);
    const sizeBytes = section.bytes + bytes.length;
    this.stringBytes = (this.isInSection ? this.stringBytes : 0) + unparsedHeadBytesOf(bytes);
    if (sizeBytes > this.options.sectionBytesMax) {
      this.refuse("too long");
    } else if (sizeBytes > SHORT_BYTES_MAX && !this.hasRoom) {
      this.refuse("overloaded");
    } else if (end !== undefined || this.isRejected(chunk[at])) {
      section.add(bytes);
      this.held.set(0);
      this.sectionEnd = new SectionEnd();
      this.isInSection = false;
      // A head that Node rejects is the last one.
      this.part = part === "head" ? "nothing" : "head";
      this.forward(section.takeAll(), chunk.subarray(end ?? chunk.length));
    } else {
      this.gather(bytes);
    }
    return end ?? chunk.length;
  }

  private get hasRoom(): boolean {
    const { bytes, bytesMax } = this.options.budget;
    return bytes - this.held.bytes + this.stringBytes <= bytesMax;
  }

  /** Whether Node's parser rejects the section, whatever follows: it is told at once. */
  private isRejected(first = 0): boolean {
    const isNoMethod =
      this.part === "head" && !this.isInSection && (first < UPPERCASE_A || first > UPPERCASE_Z);
    return isNoMethod || this.sectionEnd.isMalformed;
  }

  private gather(bytes: Buffer): void {
    const isFirst = this.part === "head" && !this.isInSection;
    this.isInSection = true;
    // The parser's timeout for a head begins with its first byte.
    if (isFirst) this.forward(bytes.subarray(0, 1), bytes.subarray(1));
    this.section.add(isFirst ? bytes.subarray(1) : bytes);
    this.held.set(this.section.bytes);
    if (this.options.budget.isExceeded) this.refuse("overloaded");
  }

  private forward(bytes: Buffer, rest: Buffer): void {
    this.rest = rest;
    for (const parse of this.parse) parse.call(this.socket, bytes);
    this.rest = undefined;
  }

  private refuse(reason: "too long" | "overloaded"): void {
    this.section.drop();
    this.held.set(0);
    this.part = "nothing";
    if (this.socket.writable) this.options.refuse(reason);
  }
}

/** Line ends before a request are ignored (RFC 9112 section 2.2). */
function isLineEnd(byte: number | undefined): boolean {
  return byte === CR || byte === LF;
}

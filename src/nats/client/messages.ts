/**
 * Reads and writes NATS/1.0 header blocks (ADR-4) as text, without the client's header objects.
 *
 * The client's `MsgHdrs` validates, re-cases and searches every header on each access, which costs more than the rest of a get or put.
 */
import { type Msg, MsgHdrsImpl } from "@nats-io/transport-node";

export const MESSAGE_ID_HEADER = "Nats-Msg-Id";
export const EXPECTED_HEADER = "Nats-Expected-Last-Subject-Sequence";

/** A message's headers. The client's `MsgHdrs` implements this too. */
export interface HeaderLookup {
  /** The first value of a header; empty if there is none. The name is case-sensitive. */
  get(name: string): string;
}

const VERSION_LINE = "NATS/1.0";
const LINE_END = "\r\n";

/** A header block as text, searched on demand. */
export class HeaderBlock implements HeaderLookup {
  constructor(readonly text: string) {}

  get(name: string): string {
    return this.valueAt(this.text.indexOf(`${LINE_END}${name}:`), name);
  }

  /** The last value of a header: the server's headers follow those of the message's writer. */
  last(name: string): string {
    return this.valueAt(this.text.lastIndexOf(`${LINE_END}${name}:`), name);
  }

  /** The status at the start of the block, such as 404; 0 if there is none. */
  get status(): number {
    if (this.text.charCodeAt(VERSION_LINE.length) !== SPACE) return 0;
    return Number.parseInt(this.text.slice(VERSION_LINE.length + 1, VERSION_LINE.length + 4), 10) || 0;
  }

  /** The text after the status, such as `No Messages`; empty if there is no status. */
  get description(): string {
    const line = this.text.slice(0, Math.max(0, this.text.indexOf(LINE_END)));
    return line.slice(VERSION_LINE.length + 4).trim();
  }

  private valueAt(index: number, name: string): string {
    if (index < 0) return "";
    const start = index + LINE_END.length + name.length + 1;
    const end = this.text.indexOf(LINE_END, start);
    return this.text.slice(start, end < 0 ? undefined : end).trim();
  }
}

const SPACE = 0x20;
export const NO_HEADERS = new HeaderBlock("");
const NO_BYTES = new Uint8Array(0);

/** The private fields in which the client keeps a message's bytes. Other versions of the client may not have them. */
interface MessageParts {
  readonly _rdata?: Uint8Array;
  readonly _msg?: { readonly hdr?: number; readonly subject?: Uint8Array; readonly reply?: Uint8Array };
}

function hasParts(message: object): message is MessageParts {
  return "_rdata" in message && "_msg" in message;
}

function partsOf(message: Msg): MessageParts {
  return hasParts(message) ? message : {};
}

/** The subject of a received message as bytes, without decoding it. */
export function subjectBytes(message: Msg): Uint8Array {
  return partsOf(message)._msg?.subject ?? Buffer.from(message.subject);
}

/** The subject for replies to a received message as bytes, without decoding it; empty if there is none. */
export function replyBytes(message: Msg): Uint8Array {
  const { _msg } = partsOf(message);
  return _msg === undefined ? Buffer.from(message.reply ?? "") : (_msg.reply ?? NO_BYTES);
}

/** The headers and the value of a received message. */
export function payloadBytes(message: Msg): Uint8Array {
  const { _rdata } = partsOf(message);
  return _rdata ?? Buffer.concat([Buffer.from(headersOf(message).text, "latin1"), message.data]);
}

/** The header block of a received message. */
export function headersOf(message: Msg): HeaderBlock {
  const { _rdata: bytes, _msg: frame } = partsOf(message);
  const length = frame?.hdr;
  if (!(bytes instanceof Uint8Array) || length === undefined) {
    const headers = message.headers;
    return headers instanceof MsgHdrsImpl ? new HeaderBlock(headers.toString()) : NO_HEADERS;
  }
  if (length <= 0) return NO_HEADERS;
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, length);
  return new HeaderBlock(buffer.toString("latin1", 0, length));
}

/** Headers to publish, in wire format. The caller must ensure that values are in latin1, and without line ends. */
export class RawHeaders extends MsgHdrsImpl {
  private readonly block: Uint8Array;

  /** `lines`: `Name: value` lines, each ended by CR LF. */
  constructor(lines: string) {
    super();
    this.block = Buffer.from(`${VERSION_LINE}${LINE_END}${lines}${LINE_END}`, "latin1");
  }

  override encode(): Uint8Array {
    return this.block;
  }

  get byteLength(): number {
    return this.block.length;
  }
}

/**
 * The bytes, in memory of their own. Those of a message may be part of a larger block that the socket read, which a caller that keeps them would
 * keep too. A large message already has its own block.
 */
export function ownBytes(data: Uint8Array): Uint8Array {
  return 2 * data.byteLength >= data.buffer.byteLength ? data : data.slice();
}

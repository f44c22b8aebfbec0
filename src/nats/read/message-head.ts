/** A delivered message without its value, for reads of many messages: what is not asked for is not decoded. */
import type { Operation } from "../../kv/entry.js";
import type { Frame } from "../client/frames.js";
import { HeaderBlock, NO_HEADERS } from "../client/messages.js";
import { endOfLifetimeMs, LIFETIME_HEADER } from "../streams/lifetime.js";
import { onlyContentTypeOf, operationOf } from "../streams/records.js";
import { Change, type Delivery } from "./delivery.js";

/** What nats-server adds to a message that is delivered without its value; most messages of a bucket have no other header. */
const ONLY_SIZE = Buffer.from("NATS/1.0\r\nNats-Msg-Size: ");
const SIZE_HEADER = "Nats-Msg-Size";
const LINE_ENDS_BYTES = 4;
const NO_BYTES = new Uint8Array(0);
const ZERO = 48;
const NINE = 57;

/** Valid only during the call that it is passed to: the bytes are those that the socket received. */
export class MessageHead {
  readonly revision: number;
  readonly timeMs: number;
  /** Bytes of the value, as stored. */
  readonly valueBytes: number;
  /** Bytes of headers and value. */
  readonly messageBytes: number;
  readonly operation: Operation;
  /** The key in its stored form: bytes `keyStart` to before `keyEnd`. */
  readonly bytes: Uint8Array;
  readonly keyStart: number;
  readonly keyEnd: number;
  /** Without that of the value's size, unless there are others. */
  readonly headers: HeaderBlock;

  constructor(
    frame: Frame,
    readonly delivery: Delivery,
    prefixBytes: number,
  ) {
    const { bytes, payloadStart, payloadEnd } = frame;
    this.revision = delivery.streamSequence;
    this.timeMs = delivery.timeMs;
    this.bytes = bytes;
    this.keyStart = frame.subjectStart + prefixBytes;
    this.keyEnd = frame.subjectEnd;
    const onlySize = sizeAlone(bytes, payloadStart, payloadEnd);
    const headers = onlySize < 0 ? new HeaderBlock(textOf(bytes, payloadStart, payloadEnd)) : NO_HEADERS;
    this.headers = headers;
    this.valueBytes = onlySize < 0 ? Number(headers.get(SIZE_HEADER)) : onlySize;
    this.messageBytes = payloadEnd - payloadStart + this.valueBytes;
    this.operation = operationOf(headers);
  }

  /** Whether it leaves the key without a value. */
  get isTombstone(): boolean {
    return this.operation !== "put";
  }

  /** Nanoseconds within `timeMs`. */
  get timeNanos(): number {
    return this.delivery.timeNanos;
  }

  /** See `Change`. */
  get onlyContentType(): string | undefined {
    return this.headers === NO_HEADERS ? "" : onlyContentTypeOf(this.headers);
  }

  /** The key in its stored form. */
  get storedKey(): string {
    return textOf(this.bytes, this.keyStart, this.keyEnd, "utf8");
  }

  /** When it expires, in milliseconds since 1970 by the storage's clock; Infinity: never. `ageMsMax`: the bucket's ttl, 0 for none. */
  expiresAtMs(ageMsMax: number): number {
    return endOfLifetimeMs(this.headers.get(LIFETIME_HEADER), this.timeMs, ageMsMax);
  }
}

/** The change that a message is, with an empty value. */
export function changeWithoutValue({ headers, storedKey, delivery }: MessageHead): Change {
  return new Change({ headers, data: NO_BYTES }, storedKey, delivery);
}

function textOf(bytes: Uint8Array, start: number, end: number, encoding: BufferEncoding = "latin1"): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString(encoding);
}

/** The size of the value where that is the only header; otherwise -1. */
function sizeAlone(bytes: Uint8Array, start: number, end: number): number {
  for (let at = 0; at < ONLY_SIZE.length; at++) if (bytes[start + at] !== ONLY_SIZE[at]) return -1;
  let size = 0;
  for (let at = start + ONLY_SIZE.length; at < end - LINE_ENDS_BYTES; at++) {
    const byte = bytes[at] as number;
    if (byte < ZERO || byte > NINE) return -1;
    size = size * 10 + byte - ZERO;
  }
  return size;
}

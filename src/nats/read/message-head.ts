/** A delivered message without its value, for reads of many messages: what is not asked for is not decoded. */
import type { Msg } from "@nats-io/transport-node";
import type { Operation } from "../../kv/store.js";
import { headersOf, NO_HEADERS, payloadBytes, subjectBytes } from "../client/messages.js";
import { endOfLifetimeMs, LIFETIME_HEADER } from "../streams/lifetime.js";
import { operationOf } from "../streams/records.js";
import type { Delivery } from "./delivery.js";

/** What nats-server adds to a message that is delivered without its value; most messages of a bucket have no other header. */
const ONLY_SIZE = Buffer.from("NATS/1.0\r\nNats-Msg-Size: ");
const SIZE_HEADER = "Nats-Msg-Size";
const LINE_ENDS_BYTES = 4;
const ZERO = 48;
const NINE = 57;

export class MessageHead {
  readonly revision: number;
  readonly timeMs: number;
  /** Bytes of the value, as stored. */
  readonly valueBytes: number;
  /** Bytes of headers and value. */
  readonly messageBytes: number;
  readonly operation: Operation;
  /** The subject: the stored key begins at `keyStart`. */
  readonly subject: Uint8Array;
  private readonly lifetime: string;

  constructor(
    message: Msg,
    delivery: Delivery,
    readonly keyStart: number,
  ) {
    this.revision = delivery.streamSequence;
    this.timeMs = delivery.timeMs;
    this.subject = subjectBytes(message);
    const payload = payloadBytes(message);
    const onlySize = sizeAlone(payload);
    const headers = onlySize < 0 ? headersOf(message) : NO_HEADERS;
    this.valueBytes = onlySize < 0 ? Number(headers.get(SIZE_HEADER)) : onlySize;
    this.messageBytes = payload.length + this.valueBytes;
    this.operation = operationOf(headers);
    this.lifetime = headers.get(LIFETIME_HEADER);
  }

  /** Whether it leaves the key without a value. */
  get isTombstone(): boolean {
    return this.operation !== "put";
  }

  /** The key in its stored form. */
  get storedKey(): string {
    const { subject, keyStart } = this;
    return Buffer.from(subject.buffer, subject.byteOffset, subject.length).toString("utf8", keyStart);
  }

  /** When it expires, in milliseconds since 1970 by the storage's clock; Infinity: never. `ageMsMax`: the bucket's ttl, 0 for none. */
  expiresAtMs(ageMsMax: number): number {
    return endOfLifetimeMs(this.lifetime, this.timeMs, ageMsMax);
  }
}

/** The size of the value where that is the only header; otherwise -1. */
function sizeAlone(payload: Uint8Array): number {
  for (let at = 0; at < ONLY_SIZE.length; at++) if (payload[at] !== ONLY_SIZE[at]) return -1;
  let size = 0;
  for (let at = ONLY_SIZE.length; at < payload.length - LINE_ENDS_BYTES; at++) {
    const byte = payload[at] as number;
    if (byte < ZERO || byte > NINE) return -1;
    size = size * 10 + byte - ZERO;
  }
  return size;
}

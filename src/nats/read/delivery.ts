/** What JetStream says of a message it delivers: the tokens of the subject that an acknowledgement would go to (ADR-15). */
import { endOfLifetimeMs, LIFETIME_HEADER } from "../streams/expiry.js";
import { type HeaderBlock, ownBytes } from "../client/messages.js";
import { entryOf, operationOf } from "../streams/records.js";
import type { Entry, Operation, WatchEvent } from "../../kv/store.js";

/** A delivered message's place in its stream and in its consumer, and when it was stored. */
export interface Delivery {
  readonly streamSequence: number;
  readonly consumerSequence: number;
  readonly timeMs: number;
  readonly timeNanos: number;
  /** Messages that the consumer had still to deliver. */
  readonly pending: number;
}

/** `$JS.ACK`, in the newer form a domain and an account, then stream, consumer, delivery count: the sequences follow. */
const SEQUENCES_AT_SHORT = 5;
const SEQUENCES_AT_LONG = 7;
const SHORT_FORM_TOKENS = 9;

const PREFIX = "$JS.ACK.";
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const NANOS_DIGITS = 6;

/** Reads the reply subject of a delivered message; undefined when it is no such subject. */
export function parseDelivery(reply: string): Delivery | undefined {
  if (!reply.startsWith(PREFIX)) return undefined;
  // Without an array and a text for each token: every delivered message comes through here.
  const isShort = startOf(reply, SHORT_FORM_TOKENS, 0) < 0;
  const stream = startOf(reply, isShort ? SEQUENCES_AT_SHORT : SEQUENCES_AT_LONG, 0);
  const consumer = startOf(reply, 1, stream);
  const time = startOf(reply, 1, consumer);
  const pending = startOf(reply, 1, time);
  if (pending < 0) return undefined;
  const nanos = Math.max(time, pending - 1 - NANOS_DIGITS);
  const delivery = {
    streamSequence: numberAt(reply, stream, consumer - 1),
    consumerSequence: numberAt(reply, consumer, time - 1),
    timeMs: numberAt(reply, time, nanos),
    timeNanos: numberAt(reply, nanos, pending - 1),
    pending: numberAt(reply, pending, reply.length),
  };
  return Number.isSafeInteger(delivery.streamSequence) ? delivery : undefined;
}

/** Where the token begins that comes this many after the one at `from`; -1: there is none. */
function startOf(reply: string, tokens: number, from: number): number {
  let at = from;
  for (let left = tokens; left > 0; left--) {
    const dot = at < 0 ? -1 : reply.indexOf(".", at);
    if (dot < 0) return -1;
    at = dot + 1;
  }
  return at;
}

/** The number from there to the next dot or `end`; NaN: it is none. */
function numberAt(reply: string, start: number, end: number): number {
  let number = 0;
  for (let at = start; at < end; at++) {
    const code = reply.charCodeAt(at);
    if (code === DOT) break;
    number = code >= ZERO && code <= NINE ? number * 10 + code - ZERO : NaN;
  }
  return number;
}

/** What a message holds: its value, and what was written with it. */
export interface MessageBody {
  readonly data: Uint8Array;
  readonly headers: HeaderBlock;
}

/**
 * One change of a bucket on its way to any number of watchers. It is decoded once, when the first of them wants it, and its events
 * are shared: whoever encodes them can keep the result by the event's identity.
 */
export class Change {
  readonly revision: number;
  /** Bytes of the stored key and the value. */
  readonly bytes: number;
  /** Bytes of headers and value, as stored. */
  readonly messageBytes: number;
  readonly operation: Operation;
  /** The revision of its key before this one; 0: there was none; undefined: not known. */
  replaces: number | undefined;
  /** Whether it says that a key expired which had been deleted before. */
  repeatsDelete = false;
  private readonly lifetime: string;
  private message: MessageBody | undefined;
  private decoded: Entry | undefined;
  private fullEvent: (WatchEvent & { type: "change" }) | undefined;
  private bareEvent: (WatchEvent & { type: "change" }) | undefined;

  constructor(
    message: MessageBody,
    readonly storedKey: string,
    private readonly delivery: Delivery,
    /** Bytes of the value, also where it was not read with the message. */
    readonly valueBytes: number = message.data.length,
  ) {
    this.message = message;
    this.revision = delivery.streamSequence;
    this.bytes = storedKey.length + valueBytes;
    this.messageBytes = message.headers.text.length + valueBytes;
    this.operation = operationOf(message.headers);
    this.lifetime = message.headers.get(LIFETIME_HEADER);
  }

  /** Whether it leaves the key without a value. */
  get isTombstone(): boolean {
    return this.operation !== "put";
  }

  /** When it was stored, in milliseconds since 1970. */
  get timeMs(): number {
    return this.delivery.timeMs;
  }

  /** The same in nanoseconds. */
  get storedAtNanos(): bigint {
    return BigInt(this.delivery.timeMs) * 1_000_000n + BigInt(this.delivery.timeNanos);
  }

  /** When it expires, in milliseconds since 1970 by the storage's clock; Infinity: never. `ageMsMax`: the bucket's ttl, 0 for none. */
  expiresAtMs(ageMsMax: number): number {
    return endOfLifetimeMs(this.lifetime, this.delivery.timeMs, ageMsMax);
  }

  /** The entry; undefined where no key of ours is stored so. */
  entry(): Entry | undefined {
    if (this.message !== undefined) {
      const { data, headers } = this.message;
      this.message = undefined;
      this.decoded = entryOf({
        storedKey: this.storedKey,
        data: ownBytes(data),
        headers,
        revision: BigInt(this.revision),
        timeMs: this.delivery.timeMs,
        timeNanos: this.delivery.timeNanos,
      });
    }
    return this.decoded;
  }

  /** The event that watchers get, with the value or, for those that want keys only, without. */
  event(entry: Entry, keysOnly: boolean): WatchEvent & { type: "change" } {
    if (keysOnly) return (this.bareEvent ??= { type: "change", entry: withoutValue(entry) });
    return (this.fullEvent ??= { type: "change", entry });
  }
}

const NO_BYTES = new Uint8Array(0);

export function withoutValue(entry: Entry): Entry {
  return entry.value.length === 0 ? entry : { ...entry, value: NO_BYTES };
}

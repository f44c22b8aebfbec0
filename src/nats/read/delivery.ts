/** What JetStream says of a message it delivers: the tokens of the subject that an acknowledgement would go to (ADR-15). */
import { endOfLifetimeMs, LIFETIME_HEADER } from "../streams/lifetime.js";
import { type HeaderBlock, ownBytes } from "../client/messages.js";
import { commitRevisionOf, entryOf, onlyContentTypeOf, operationOf } from "../streams/records.js";
import type { Entry, Operation } from "../../kv/entry.js";
import type { WatchEvent } from "../../kv/watch.js";

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
const LONG_FORM_TOKENS = 11;

const PREFIX = Buffer.from("$JS.ACK.");
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const NANOS_DIGITS = 6;
/** Where each token begins, and after the last one where a further one would. Reused: every delivered message comes through here. */
const tokenStarts = new Int32Array(LONG_FORM_TOKENS + 1);

/** Reads the reply subject of a delivered message, bytes `from` to before `to`; undefined when it is no such subject. */
export function parseDelivery(reply: Uint8Array, from = 0, to = reply.length): Delivery | undefined {
  if (!startsWith(reply, from, to)) return undefined;
  const tokens = splitTokens(reply, from, to);
  if (tokens < SHORT_FORM_TOKENS) return undefined;
  const at = tokens === SHORT_FORM_TOKENS ? SEQUENCES_AT_SHORT : SEQUENCES_AT_LONG;
  if (tokens < at + 4) return undefined;
  const stream = tokenStarts[at] as number;
  const consumer = tokenStarts[at + 1] as number;
  const time = tokenStarts[at + 2] as number;
  const pending = tokenStarts[at + 3] as number;
  const end = tokenStarts[at + 4] as number;
  const nanos = Math.max(time, pending - 1 - NANOS_DIGITS);
  const delivery = {
    streamSequence: numberAt(reply, stream, consumer - 1),
    consumerSequence: numberAt(reply, consumer, time - 1),
    timeMs: numberAt(reply, time, nanos),
    timeNanos: numberAt(reply, nanos, pending - 1),
    pending: numberAt(reply, pending, end - 1),
  };
  return Number.isSafeInteger(delivery.streamSequence) ? delivery : undefined;
}

function startsWith(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from < PREFIX.length) return false;
  for (let at = 0; at < PREFIX.length; at++) if (bytes[from + at] !== PREFIX[at]) return false;
  return true;
}

/** Finds where tokens begin, of the first ones that are needed. Returns how many there are of these. */
function splitTokens(subject: Uint8Array, from: number, to: number): number {
  let tokens = 1;
  tokenStarts[0] = from;
  for (let at = from; at < to && tokens <= LONG_FORM_TOKENS; at++)
    if (subject[at] === DOT) tokenStarts[tokens++] = at + 1;
  if (tokens <= LONG_FORM_TOKENS) tokenStarts[tokens] = to + 1;
  return Math.min(tokens, LONG_FORM_TOKENS);
}

/** The digits from there to `end` as a number; NaN: they are none. */
function numberAt(bytes: Uint8Array, start: number, end: number): number {
  let number = 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO;
    number = digit >= 0 && digit <= NINE - ZERO ? number * 10 + digit : NaN;
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
 * are shared: an encoder can keep the result by the event's identity.
 */
export class Change {
  readonly revision: number;
  readonly valueBytes: number;
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
  ) {
    this.message = message;
    this.revision = delivery.streamSequence;
    this.valueBytes = message.data.length;
    this.bytes = storedKey.length + this.valueBytes;
    this.messageBytes = message.headers.text.length + this.valueBytes;
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

  /** Nanoseconds within that millisecond. */
  get timeNanos(): number {
    return this.delivery.timeNanos;
  }

  /** The revision of the last write of its commit; its own where it belongs to none. */
  get commitEnd(): number {
    const { message, revision, decoded } = this;
    const end =
      message === undefined
        ? decoded?.commitRevision
        : commitRevisionOf({ headers: message.headers, revision: BigInt(revision) });
    return end === undefined ? revision : Number(end);
  }

  /** The media type; undefined where the entry has more beside its value than that. */
  get onlyContentType(): string | undefined {
    return this.message === undefined ? contentTypeOf(this.decoded) : onlyContentTypeOf(this.message.headers);
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

function contentTypeOf(entry: Entry | undefined): string | undefined {
  if (entry === undefined) return undefined;
  const { expiresAtMs, metadata, commitRevision } = entry;
  const isAlone = expiresAtMs === undefined && metadata === undefined && commitRevision === undefined;
  return isAlone ? entry.contentType : undefined;
}

const NO_BYTES = new Uint8Array(0);

export function withoutValue(entry: Entry): Entry {
  return entry.value.length === 0 ? entry : { ...entry, value: NO_BYTES };
}

/**
 * Entries kept in memory, so that hot keys are read without a request to NATS.
 *
 * Only for a storage to which nobody else writes: the embedded server of a single process. Every change passes through this process there,
 * so a cached entry is the newest until a write of its key begins. What could be stale is not served:
 * - a key is not answered from memory while a write of it is in flight, and not at all if the outcome of the write stays unknown;
 * - the same for a whole bucket that is updated or deleted;
 * - buckets that remove entries on their own (a TTL, limits that evict the oldest) are not cached;
 * - a lost connection empties the cache.
 * So a read sees every write acknowledged before it, as if it had asked the storage.
 */
import { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Entry } from "../../kv/entry.js";
import type { StreamConfig } from "../client/jetstream-api.js";
import type { KeyPlace } from "./entries.js";
import { existing, type StoredMessage } from "../client/message-reader.js";
import { entryOfKey } from "../streams/records.js";
import { LIFETIME_HEADER } from "../streams/lifetime.js";
import type { Requests } from "../client/requests.js";

/** Asks the storage for the newest message of a key; undefined where there is none. */
type Read = () => Promise<StoredMessage | undefined>;

interface Kept {
  readonly stream: string;
  readonly entry: Entry;
  readonly bytes: number;
  /** Read since it last stood first in the queue of those to go. */
  wasRead: boolean;
}

/** A read under way. Others may share it for as long as nothing it could have missed was begun. */
interface Fill {
  readonly stream: string;
  readonly message: Promise<StoredMessage | undefined>;
  isCurrent: boolean;
}

/** What an entry takes beside its key and value, roughly. */
const OVERHEAD_BYTES = 300;
/** Larger values cost more to send than to ask for. */
const VALUE_BYTES_MAX = 65_536;
/** Keys and buckets whose writes ended without a known outcome. More of them: nothing is kept any more. */
const UNKNOWN_MAX = 10_000;

export class ReadCache {
  /** By subject, in the order in which they are to go: one that was read meanwhile gets another turn. */
  private readonly kept = new Map<string, Kept>();
  private keptBytes = 0;
  private readonly fills = new Map<string, Fill>();
  /** Changes under way, by subject and by stream. */
  private readonly changing = new Map<string, number>();
  private unknownCount = 0;
  /** Whether a bucket's entries stay until they are written over; absent: not looked at yet. */
  private readonly fitness = new Map<string, boolean>();

  constructor(
    private readonly requests: Requests,
    private readonly bytesMax: number,
  ) {
    requests.onDisconnect(() => this.clear());
  }

  /** The newest entry of a key from memory, or else the message that `read` brings. */
  newest(place: KeyPlace, context: CallContext, read: Read): Entry | ReturnType<Read> {
    const { stream, subject } = place;
    if (performance.now() >= context.deadlineMs || !this.isUsable(stream, subject)) return read();
    const kept = this.kept.get(subject);
    if (kept !== undefined) {
      kept.wasRead = true;
      return kept.entry;
    }
    return this.fitness.has(stream) ? this.fill(place, read) : this.lookFirst(place, context, read);
  }

  /** Runs a write of this subject. */
  async during<Result>(subject: string, write: () => Promise<Result>): Promise<Result> {
    this.begin(subject);
    let isKnown = false;
    try {
      const result = await write();
      isKnown = true;
      return result;
    } catch (error) {
      isKnown = error instanceof KvError && error.kind !== "outcome_unknown";
      throw error;
    } finally {
      if (isKnown) this.end(subject);
      else this.unknownCount++;
    }
  }

  /** Runs a change of a whole bucket. */
  duringBucket<Result>(stream: string, change: () => Promise<Result>): Promise<Result> {
    this.fitness.delete(stream);
    for (const [subject, kept] of this.kept) if (kept.stream === stream) this.drop(subject);
    for (const [subject, fill] of this.fills) if (fill.stream === stream) this.outdate(subject);
    return this.during(stream, change);
  }

  private begin(name: string): void {
    this.changing.set(name, (this.changing.get(name) ?? 0) + 1);
    this.drop(name);
    this.outdate(name);
  }

  private end(name: string): void {
    const count = this.changing.get(name) ?? 0;
    if (count > 1) this.changing.set(name, count - 1);
    else this.changing.delete(name);
  }

  private isUsable(stream: string, subject: string): boolean {
    if (this.changing.size === 0) return true;
    return !this.changing.has(subject) && !this.changing.has(stream) && this.unknownCount < UNKNOWN_MAX;
  }

  /** Reads, or shares what is being read. There is one fill of a subject at a time, so that a write finds all that it outdates. */
  private async fill(place: KeyPlace, read: Read): ReturnType<Read> {
    const { stream, subject } = place;
    if (this.fitness.get(stream) !== true || !this.isUsable(stream, subject)) return read();
    const shared = this.fills.get(subject);
    if (shared !== undefined) {
      // What it failed with is told to its own call alone.
      const message = await shared.message.catch(() => undefined);
      return shared.isCurrent && message !== undefined ? message : read();
    }
    const fill: Fill = { stream, message: read(), isCurrent: true };
    this.fills.set(subject, fill);
    try {
      const message = await fill.message;
      if (fill.isCurrent && message !== undefined) this.keep(place, message);
      return message;
    } finally {
      if (this.fills.get(subject) === fill) this.fills.delete(subject);
    }
  }

  private async lookFirst(place: KeyPlace, context: CallContext, read: Read): ReturnType<Read> {
    const { config } = await existing(this.requests, place, context);
    // A change that began meanwhile may make it another one.
    if (!this.changing.has(place.stream)) this.fitness.set(place.stream, isLasting(config));
    return this.fill(place, read);
  }

  private keep({ stream, subject, key }: KeyPlace, message: StoredMessage): void {
    if (message.data.length > VALUE_BYTES_MAX || message.headers.get(LIFETIME_HEADER) !== "") return;
    const bytes = OVERHEAD_BYTES + 2 * subject.length + message.data.length;
    if (bytes > this.bytesMax) return;
    this.drop(subject);
    // The value is a part of what came in one piece from the connection, which must not be kept for its sake.
    const entry = entryOfKey(key, {
      data: Uint8Array.from(message.data),
      headers: message.headers,
      revision: message.sequence,
      timeMs: message.timeMs,
      timeNanos: message.timeNanos,
    });
    this.kept.set(subject, { stream, bytes, entry, wasRead: false });
    this.keptBytes += bytes;
    for (const [first, kept] of this.kept) {
      if (this.keptBytes <= this.bytesMax) return;
      if (kept.wasRead) {
        kept.wasRead = false;
        this.kept.delete(first);
        this.kept.set(first, kept);
      } else {
        this.drop(first);
      }
    }
  }

  private drop(subject: string): void {
    const kept = this.kept.get(subject);
    if (kept === undefined) return;
    this.keptBytes -= kept.bytes;
    this.kept.delete(subject);
  }

  private outdate(subject: string): void {
    const fill = this.fills.get(subject);
    if (fill === undefined) return;
    fill.isCurrent = false;
    this.fills.delete(subject);
  }

  private clear(): void {
    for (const subject of [...this.fills.keys()]) this.outdate(subject);
    this.kept.clear();
    this.fitness.clear();
    this.keptBytes = 0;
  }
}

/** Whether entries of the bucket stay until they are written over or deleted. */
function isLasting(config: StreamConfig): boolean {
  const isAgeless = (config.max_age ?? 0) === 0;
  return isAgeless && config.discard === "new" && (config.max_msgs ?? -1) <= 0;
}

/** Caches the configuration and size of buckets, which writes need. Does not cache that a bucket does not exist. */
import type { CallContext } from "../../kv/call-context.js";
import { existing, type Place } from "../client/message-reader.js";
import { maxBytesOf } from "./headroom.js";
import { serverTimeMs } from "../client/jetstream-api.js";
import type { Requests } from "../client/requests.js";
import { allowsEntryTtl, isSyncedAtMost, keepsTombstones, valueSizeOf, windowMsOf } from "./stream-config.js";

export interface CachedBucket {
  /** The bucket's limit on the size of a value, in bytes; 0: none. */
  readonly maxValueSize: number;
  /** The bucket's `max_bytes`; 0: no limit. */
  readonly maxBytes: number;
  /** The stored bytes at the time of the read. */
  readonly usedBytes: number;
  /** The newest sequence at the time of the read. */
  readonly lastSequence: number;
  /** The bytes that this process writes to the bucket. */
  readonly ledger: Ledger;
  /** The bytes of this process's values that `usedBytes` includes: their writes ended before the read. */
  readonly settledBytes: number;
  /** The number of revisions kept per key. */
  readonly history: number;
  /** Whether tombstones must not expire, because earlier revisions of the key may live longer: see {@link keepsTombstones}. */
  readonly keepsTombstones: boolean;
  /** Whether group commit may help: its writes are synced. */
  readonly isSynced: boolean;
  /** Whether the stream accepts messages with a TTL of their own, and says when they expire. */
  readonly allowsTtl: boolean;
  /** Whether the stream accepts atomic batches. */
  readonly allowsBatches: boolean;
  /** The number of replicas in the storage. */
  readonly replicas: number;
  /** The creation time of the stream, which distinguishes the bucket from an earlier one with the same name. */
  readonly created: string;
  /** `created` in milliseconds since 1970. */
  readonly createdAtMs: number;
  /** The duplicate window of the stream, in milliseconds. */
  readonly windowMs: number;
  /** The bucket's TTL in milliseconds; 0: none. */
  readonly ageMsMax: number;
  /** The storage's clock minus this machine's clock, in milliseconds. */
  readonly clockAheadMs: number;
  /** A revision that has certainly been written; later ones may have been too. */
  newestSeen: number;
  readonly readAtMs: number;
  isBeingRead: boolean;
}

/** The bytes of values whose writes this process has started, and of those whose outcome is known. Both only increase. */
export interface Ledger {
  admittedBytes: number;
  settledBytes: number;
}

/**
 * How long an entry is valid: the delay until another instance notices a changed `max_value_size`. The delay is harmless, because the
 * storage enforces the limit (plus the allowance for headers) itself, and a write is refused only after the entry was reloaded.
 */
const VALID_FOR_MS = 1_000;
/** Entries older than this are reloaded in the background, so calls to a busy bucket do not wait. */
const REFRESH_AFTER_MS = 500;
/** The same for `latest`, which accepts any age. */
const LATEST_REFRESH_AFTER_MS = 30_000;
const REFRESH_TIMEOUT_MS = 1_000;
const BUCKETS_MAX = 10_000;
const NANOS_PER_MS = 1_000_000;
const NEVER_ABORTED = new AbortController().signal;

export class BucketConfigCache {
  private readonly byStream = new Map<string, CachedBucket>();
  private readonly ledgers = new Map<string, Ledger>();

  constructor(private readonly requests: Requests) {
    // After a reconnect, the storage may have lost its last writes.
    requests.onDisconnect(() => this.byStream.clear());
  }

  private ledger(stream: string): Ledger {
    let ledger = this.ledgers.get(stream);
    if (ledger === undefined) {
      if (this.ledgers.size >= BUCKETS_MAX) this.dropSettled();
      ledger = { admittedBytes: 0, settledBytes: 0 };
      this.ledgers.set(stream, ledger);
    }
    return ledger;
  }

  /** Drops ledgers without writes in flight: the stored bytes of later reads include all of their writes. */
  private dropSettled(): void {
    for (const [stream, { admittedBytes, settledBytes }] of this.ledgers)
      if (admittedBytes === settledBytes) this.ledgers.delete(stream);
  }

  /** The cached entry; undefined if there is none, or it is too old. */
  recent(place: Place): CachedBucket | undefined {
    const facts = this.byStream.get(place.stream);
    if (facts === undefined) return undefined;
    const ageMs = performance.now() - facts.readAtMs;
    if (ageMs >= VALID_FOR_MS) return undefined;
    if (ageMs >= REFRESH_AFTER_MS) this.refresh(place, facts);
    return facts;
  }

  private refresh(place: Place, facts: CachedBucket): void {
    if (facts.isBeingRead) return;
    facts.isBeingRead = true;
    const context = { deadlineMs: performance.now() + REFRESH_TIMEOUT_MS, signal: NEVER_ABORTED };
    // Ignore failures: a call that finds the entry too old reads it again, and reports the error.
    this.read(place, context)
      .catch(() => undefined)
      .finally(() => (facts.isBeingRead = false));
  }

  /** The cached entry of any age, which is reloaded in the background. For uses that tolerate an outdated configuration. */
  latest(place: Place): CachedBucket | undefined {
    const facts = this.byStream.get(place.stream);
    if (facts !== undefined && performance.now() - facts.readAtMs >= LATEST_REFRESH_AFTER_MS)
      this.refresh(place, facts);
    return facts;
  }

  /** Reloads the entry. Throws `bucket_not_found`. */
  async read(place: Place, context: CallContext): Promise<CachedBucket> {
    const readAtMs = performance.now();
    const ledger = this.ledger(place.stream);
    const { settledBytes } = ledger;
    const info = await existing(this.requests, place, context);
    const facts = {
      maxValueSize: valueSizeOf(info.config),
      maxBytes: maxBytesOf(info.config),
      usedBytes: info.state.bytes,
      lastSequence: info.state.last_seq,
      ledger,
      settledBytes,
      history: Math.max(1, info.config.max_msgs_per_subject ?? 1),
      keepsTombstones: keepsTombstones(info.config),
      isSynced: isSyncedAtMost(info.config),
      allowsTtl: allowsEntryTtl(info.config),
      allowsBatches: info.config.allow_atomic === true,
      replicas: info.config.num_replicas ?? 1,
      created: info.created,
      windowMs: windowMsOf(info.config),
      createdAtMs: Date.parse(info.created),
      ageMsMax: (info.config.max_age ?? 0) / NANOS_PER_MS,
      clockAheadMs: serverTimeMs(info) - Date.now(),
      newestSeen: info.state.last_seq,
      readAtMs,
      isBeingRead: false,
    };
    if (this.byStream.size >= BUCKETS_MAX) this.byStream.clear();
    this.byStream.set(place.stream, facts);
    return facts;
  }

  forget(stream: string): void {
    this.byStream.delete(stream);
  }
}

/** What writes need to know of a bucket, remembered for a moment. That a bucket does not exist is never remembered. */
import type { CallScope } from "../../kv/store.js";
import { existing, type Place } from "../client/message-reader.js";
import { maxBytesOf } from "./headroom.js";
import { serverTimeMs } from "../client/jetstream-api.js";
import type { Requests } from "../client/requests.js";
import { keepsTombstones, valueSizeOf, windowMsOf } from "./stream-config.js";

export interface BucketFacts {
  /** Bytes; 0 for no limit of the bucket's own. */
  readonly maxValueSize: number;
  /** Bytes that values may fill; 0 for no limit. */
  readonly maxBytes: number;
  /** Bytes stored when the facts were read. */
  readonly usedBytes: number;
  /** The sequence of the newest message then. */
  readonly lastSequence: number;
  /** What this process writes to the bucket. */
  readonly ledger: Ledger;
  /** Bytes of this process's values that were written before the facts were read: those are among the stored ones. */
  readonly settledBytes: number;
  /** Revisions kept of each key. */
  readonly history: number;
  /** Whether a tombstone must not expire, as the key's earlier revisions may live longer: see {@link keepsTombstones}. */
  readonly keepsTombstones: boolean;
  /** Copies that the storage keeps. */
  readonly replicas: number;
  /** The creation time of its stream: tells it from an earlier bucket of the same name. */
  readonly created: string;
  /** The same in milliseconds since 1970. */
  readonly createdAtMs: number;
  /** Milliseconds for which the storage remembers the writes it took. */
  readonly windowMs: number;
  /** The bucket's ttl in milliseconds; 0 for none. */
  readonly ageMsMax: number;
  /** How far the storage's clock is ahead of ours, in milliseconds. */
  readonly clockAheadMs: number;
  /** A revision that was certainly written; later ones may be too. */
  newestSeen: number;
  readonly readAtMs: number;
  isBeingRead: boolean;
}

/** The bytes of values that this process began to write, and of those whose outcome is known; both only grow. */
export interface Ledger {
  admittedBytes: number;
  settledBytes: number;
}

/**
 * How long another copy of the service may take to notice a changed `max_value_size`. Little depends on it: the storage itself refuses
 * what is more than the headers' allowance over the limit, and nothing is refused here before the facts were read anew.
 */
const GOOD_FOR_MS = 1_000;
/** Facts older than this are reloaded in the background: the calls of a busy bucket never wait for them. */
const REFRESH_AFTER_MS = 500;
/** The same where any age will do. */
const LATEST_REFRESH_AFTER_MS = 30_000;
const REFRESH_TIMEOUT_MS = 1_000;
const BUCKETS_MAX = 10_000;
const NANOS_PER_MS = 1_000_000;
const NEVER_ABORTED = new AbortController().signal;

export class BucketFactsCache {
  private readonly byStream = new Map<string, BucketFacts>();
  private readonly ledgers = new Map<string, Ledger>();

  constructor(private readonly requests: Requests) {
    // What comes back may have lost its last writes.
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

  /** What was written is among the stored bytes of facts that are read from now on. */
  private dropSettled(): void {
    for (const [stream, { admittedBytes, settledBytes }] of this.ledgers)
      if (admittedBytes === settledBytes) this.ledgers.delete(stream);
  }

  /** What is remembered; undefined when nothing is, or it is too old. */
  recent(place: Place): BucketFacts | undefined {
    const facts = this.byStream.get(place.stream);
    if (facts === undefined) return undefined;
    const ageMs = performance.now() - facts.readAtMs;
    if (ageMs >= GOOD_FOR_MS) return undefined;
    if (ageMs >= REFRESH_AFTER_MS) this.refresh(place, facts);
    return facts;
  }

  private refresh(place: Place, facts: BucketFacts): void {
    if (facts.isBeingRead) return;
    facts.isBeingRead = true;
    const scope = { deadlineMs: performance.now() + REFRESH_TIMEOUT_MS, signal: NEVER_ABORTED };
    // Who asks when they are too old gets the failure, or finds it gone.
    this.read(place, scope)
      .catch(() => undefined)
      .finally(() => (facts.isBeingRead = false));
  }

  /** What is remembered, however old: for what a change of the bucket may reach late. It is read anew beside the call. */
  latest(place: Place): BucketFacts | undefined {
    const facts = this.byStream.get(place.stream);
    if (facts !== undefined && performance.now() - facts.readAtMs >= LATEST_REFRESH_AFTER_MS)
      this.refresh(place, facts);
    return facts;
  }

  /** Reloads the facts. Throws `bucket_not_found`. */
  async read(place: Place, scope: CallScope): Promise<BucketFacts> {
    const readAtMs = performance.now();
    const ledger = this.ledger(place.stream);
    const { settledBytes } = ledger;
    const info = await existing(this.requests, place, scope);
    const facts = {
      maxValueSize: valueSizeOf(info.config),
      maxBytes: maxBytesOf(info.config),
      usedBytes: info.state.bytes,
      lastSequence: info.state.last_seq,
      ledger,
      settledBytes,
      history: Math.max(1, info.config.max_msgs_per_subject ?? 1),
      keepsTombstones: keepsTombstones(info.config),
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

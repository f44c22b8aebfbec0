/** Reads the stored entries of a bucket for catch-ups: opens readers and checks whether a watch can start or resume at a revision. */
import type { Filter } from "../../kv/filter.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Limits } from "../../kv/limits.js";
import { bucketNotFound } from "../client/errors.js";
import { RequestCoalescer } from "../client/request-coalescer.js";
import { sharedContext, type StreamApi, type StreamState } from "../read/stream-api.js";
import { type DirectAnswer, directGet, DirectRefused } from "../read/direct-get.js";
import { compacted } from "./endings.js";
import { inTime } from "./in-time.js";
import type { KeySnapshotReader, KeySnapshots } from "./key-snapshot.js";
import type { ReadStart } from "../read/consumer-config.js";
import { Reader } from "../read/stream-reader.js";
import { missedUpTo } from "../feed/resume-rule.js";
import type { Semaphore } from "../feed/semaphore.js";
import { SharedSnapshot } from "./shared-snapshot.js";

/** The most changes of one pull. */
const BATCH_MAX = 256;
const KEYS_BATCH_MAX = 1_024;
/** The most keys of one direct get: a limit of the server. */
const DIRECT_MAX = 1_024;
const BEGINS_WITH_WILDCARD = /^[*>]/;
/** The maximum size of its answer; a reader reads the rest. */
const DIRECT_BYTES_MAX = 1_048_576;
/** The maximum size of a pull, unless one value is larger. */
export const PULL_BYTES_MAX = 262_144;
/** Parts of a snapshot that may be in memory at once: one that is handled and one that is read ahead, and as many for watchers that are behind. */
const AHEAD_PARTS = 4;
/** Added to the largest value for a message's headers and key. */
const MESSAGE_OVERHEAD_BYTES = 65_536;

export interface SnapshotKind {
  readonly keepsOne: boolean;
  readonly upTo: number;
  readonly keysOnly: boolean;
}

export class Source {
  /** The most changes of one pull: at most a quarter of a watcher's queue. */
  readonly batchMax: number;
  /** The same without values. */
  readonly keysBatchMax: number;
  private readonly batchBytesMax: number;
  private readonly keptBytesMax: number;
  private readonly snapshots = new Map<string, SharedSnapshot>();
  private readonly states: RequestCoalescer<StreamState>;

  constructor(
    private readonly api: StreamApi,
    private readonly subjectPrefix: string,
    limits: Limits,
    /** Whether a reader may read a replica that lags behind. Otherwise it sees every revision known before it was opened. */
    readonly isClustered: boolean,
    /** Permits for readers, shared by all hubs. */
    readonly readerPermits: Semaphore,
    /** Where the keys of snapshots without values come from. Undefined: from the stream. */
    private readonly keySnapshots?: KeySnapshots,
  ) {
    this.states = new RequestCoalescer(limits.callTimeoutMsMax);
    const quarter = Math.max(1, Math.floor(limits.watchQueueEventsMax / 4));
    this.batchMax = Math.min(BATCH_MAX, quarter);
    this.keysBatchMax = Math.min(KEYS_BATCH_MAX, quarter);
    this.batchBytesMax = Math.max(
      Math.min(PULL_BYTES_MAX, Math.floor(limits.watchQueueBytesMax / 4)),
      limits.valueBytesMax + MESSAGE_OVERHEAD_BYTES,
    );
    // As much again as may wait for one watcher that is catching up and still reads.
    this.keptBytesMax = Math.floor(limits.watchQueueBytesMax / 2);
  }

  /** The stream as its leader has it after the call began; shared by those who ask at the same time. */
  state(context: CallContext): Promise<StreamState> {
    return this.states.get(this.api.stream, context, () => this.api.state());
  }

  /** The bucket's newest revision. Throws `bucket_not_found` if the bucket was recreated. */
  async newestRevision(created: string): Promise<number> {
    const context = sharedContext();
    const state = await inTime(this.state(context), context, this.api.bucket);
    if (state.created !== created) throw bucketNotFound(this.api.bucket);
    return state.lastSequence;
  }

  /**
   * Joins the watchers that read the same snapshot: what matches `subjects`, as of a revision. `keepsOne`: the bucket's history is 1.
   * `keysOnly`: the values are empty.
   */
  joinSnapshot(
    subjects: readonly string[],
    subject: string,
    { keepsOne, upTo, keysOnly }: SnapshotKind,
  ): SharedSnapshot {
    const name = JSON.stringify([upTo, keepsOne, keysOnly, subjects]);
    let snapshot = this.snapshots.get(name);
    if (snapshot === undefined) {
      const source = {
        atOnce: () => this.newestAsOf(subjects, upTo),
        // With a history of 1, all that is stored from a revision on is the newest of each key.
        open: (after: number) =>
          this.openReader(subject, keepsOne ? { sequence: after + 1 } : "newest_of_each", keysOnly),
      };
      // A part that is read ahead must not displace the one that is handled.
      const readsAhead = keysOnly || AHEAD_PARTS * this.batchBytesMax <= this.keptBytesMax;
      const onUnused = (): boolean => this.snapshots.delete(name);
      snapshot = new SharedSnapshot(source, this.keptBytesMax, onUnused, readsAhead);
      this.snapshots.set(name, snapshot);
    }
    return snapshot.join();
  }

  /**
   * Whether a snapshot may be asked for with one request. nats-server collects all keys that match before it refuses the request as too large,
   * and reads no other request of the connection meanwhile: seconds for a million keys.
   */
  mayReadAtOnce(subjects: readonly string[], keys: number): boolean {
    return keys <= DIRECT_MAX || subjects.every((subject) => !BEGINS_WITH_WILDCARD.test(subject));
  }

  /** Whether the keys of a snapshot come from the index. A few keys by name, or of a small bucket, are read with one request. */
  readsKeysFromIndex(filters: readonly Filter[], keys: number): boolean {
    const areNamed = filters.length > 0 && filters.every((filter) => filter.exactStoredKey !== undefined);
    return this.keySnapshots !== undefined && keys > DIRECT_MAX && !areNamed;
  }

  /** The present keys that match. Throws `KvError`. Undefined: they must be read from the stream. */
  async takeKeys(filters: readonly Filter[], created: string): Promise<KeySnapshotReader | undefined> {
    const { bucket, stream } = this.api;
    const keys = await this.keySnapshots?.take({ bucket, stream }, filters, sharedContext());
    if (keys !== undefined && keys.created !== created) throw bucketNotFound(bucket);
    return keys;
  }

  /** A reader for one watcher alone. */
  openReader(subject: string, start: ReadStart, headersOnly = false): Promise<Reader> {
    const options = { start, bytesMax: this.batchBytesMax, headersOnly };
    return Reader.open(this.api, this.subjectPrefix, subject, options);
  }

  /**
   * The newest change of each matching key, as of a revision, with one request. Undefined if the server refuses: use a reader. Throws if
   * there is no answer.
   */
  private async newestAsOf(subjects: readonly string[], revision: number): Promise<DirectAnswer | undefined> {
    if (this.isClustered) return undefined;
    try {
      return await directGet(this.api, this.subjectPrefix, {
        multi_last: subjects.map((subject) => this.subjectPrefix + subject),
        up_to_seq: revision,
        batch: Math.min(DIRECT_MAX, 4 * this.batchMax),
        max_bytes: Math.min(this.batchBytesMax, DIRECT_BYTES_MAX),
      });
    } catch (error) {
      if (error instanceof DirectRefused) return undefined;
      throw error;
    }
  }

  /** Asks the stream's leader whether no matching message after `after` and up to `upTo` is left to read. */
  async hasReadUpTo(subject: string, after: number, upTo: number): Promise<boolean> {
    if (after >= upTo) return true;
    const next = await this.api.nextSequence(this.subjectPrefix + subject, after + 1);
    return next === undefined || next > upTo;
  }

  /** An upper bound of the revisions of a range that are no longer stored. It may include some that were just read. */
  async missingAtMost(from: number, through: number): Promise<number> {
    const start = { deliver_policy: "by_start_sequence", opt_start_seq: from };
    const { pending } = await this.api.probeConsumer(start);
    const { lastSequence } = await this.api.state();
    return Math.max(0, Math.min(through - from + 1, lastSequence - from + 1 - pending));
  }

  /** Throws `revision_compacted` if a watch that starts at this revision may miss a change. */
  async checkUsable(next: number, state: StreamState): Promise<void> {
    const usable = await missedUpTo(this.api, state, next, undefined);
    if (usable !== undefined) throw compacted(this.api.bucket, usable);
  }

  /** The same for an interrupted catch-up. Throws `bucket_not_found` if the bucket was recreated. */
  async checkStillUsable(next: number, created: string): Promise<void> {
    const state = await this.api.state();
    if (state.created !== created) throw bucketNotFound(this.api.bucket);
    await this.checkUsable(next, state);
  }

  /** Throws `revision_compacted` if tombstones after this revision may have been compacted. */
  async checkNotCompacted(after: number): Promise<void> {
    const state = await this.api.state();
    if (state.compactedTo > after) throw compacted(this.api.bucket, state.compactedTo + 1);
  }
}

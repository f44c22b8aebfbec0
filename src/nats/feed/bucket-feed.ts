/**
 * The feed of a bucket: every stored message, in the order of sequences, to any number of followers in this process (watches, the key
 * index). One feed per bucket and process; it begins with the first follower and ends some time after the last.
 *
 * Each sequence after a follower's start reaches it exactly once: in `change`, or in the range of `lost` where the message was gone before
 * this process could read it. Callbacks are synchronous and must be fast: the next message waits for them.
 */
import type { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Change } from "../read/delivery.js";
import type { StreamState } from "../read/stream-api.js";
import type { ReplayVisitor } from "./recent-changes.js";
import type { LastSeen } from "./rollback.js";

/** Told what feeds go through; pino's loggers fit. */
export interface FeedLog {
  info(facts: object, sentence: string): void;
  debug(facts: object, sentence: string): void;
}

/** Sequences that no follower was shown, because their messages were not stored any more. All of them: `through - from + 1`. */
export interface LostRevisions {
  readonly from: number;
  /** Inclusive. */
  readonly through: number;
  /**
   * Whether each of them may be explained by a later message of its key, which follows or was delivered: nothing is missing from the present
   * state. False: removals may be among them that left no trace (compacted tombstones, expired entries whose marker is gone, a purge of
   * the stream). An index must be rebuilt.
   */
  readonly isSuperseded: boolean;
}

/**
 * Why nothing follows. `deleted`: the bucket is gone, or another one has its name by now. `rolled_back`: the storage lost messages that it
 * had delivered (its newest sequence is `lastSequence`). `failed`: the bucket can't be followed. `closed`: the service stops.
 */
export type FeedEnd =
  | { readonly kind: "deleted" }
  | { readonly kind: "rolled_back"; readonly lastSequence: number }
  | { readonly kind: "failed"; readonly error: KvError }
  | { readonly kind: "closed" };

export interface FeedFollower {
  /**
   * The next message: `revision`, `storedKey` (subject without the bucket's prefix), `operation`, `timeMs`, `expiresAtMs()`, `valueBytes`,
   * `storedBytes`, `entry()`. Shared by all followers: never to be changed.
   */
  change(change: Change): void;
  /** Sequences that were passed over. The next callback continues after `through`. */
  lost(lost: LostRevisions): void;
  /**
   * The stream as its leader described it, regularly and after every interruption. Everything through its `lastSequence` was shown before,
   * and perhaps more: where `position === lastSequence` it shows what leaves no message, such as a purge by another program (`messages`,
   * `subjects`). It also shows another ttl (`ageMsMax`) or history.
   */
  checked?(state: StreamState): void;
  /** Nothing follows. Follow again to get what has the bucket's name by then. */
  ended(end: FeedEnd): void;
}

/** How a feed is doing, for metrics. */
export interface FeedStats {
  /** Messages that the stream had still to deliver when it was last checked. */
  readonly lagEvents: number;
  /** Time since the storage's last sign of life. */
  readonly silenceMs: number;
  /** How often something may have been missing. */
  readonly restarts: number;
  /** What the memory of recent changes takes. */
  readonly recentBytes: number;
}

/** A follower's place in a feed. */
export interface Following {
  /** The follower is shown every sequence above this one. At or below, it has to read the stream. */
  readonly startsAfter: number;
  /** Every sequence up to here was shown to this follower, or came before its start. */
  readonly position: number;
  /** The stream as it was when the feed began: `created` tells it from an earlier one of the name. */
  readonly origin: StreamState;
  /** The last message that the feed has shown, or the one before its start. */
  readonly lastSeen: LastSeen;
  /**
   * Resolves once `position >= sequence`; at once where it is already. If the message does not arrive soon (it was superseded, or deleted
   * by another program, or lost on the way), the feed reads the stream up to there. Throws `KvError`: `deadline_exceeded`, `canceled`,
   * `bucket_not_found` where the feed ended.
   */
  appliedThrough(sequence: number, context: CallContext): Promise<void>;
  /** Whether memory has everything that followed this sequence. */
  remembers(sequence: number): boolean;
  /** Visits what memory has after the sequence, in order; without a gap only where it `remembers` it. Whether the visitor took all. */
  replay(after: number, visitor: ReplayVisitor): boolean;
  /**
   * Reads into memory what the stream still holds after the sequence, where that is not much, so that it `remembers` it. Only where nothing
   * can be missing without a trace: see feed/resume-rule.ts. Never throws.
   */
  recall(sequence: number): Promise<void>;
  /** The message of a sequence, if memory has it. */
  remembered(sequence: number): Change | undefined;
  stats(): FeedStats;
  /** Compares the feed with the stream now, where it is not interrupted: `checked` is called when nothing is missing. Never throws. */
  check(): Promise<void>;
  /** Ends it; no callback follows. Idempotent. */
  stop(): void;
}

/** The feeds of this process. */
export interface BucketFeeds {
  /**
   * Follows a bucket. Resolves when the feed is live: whatever is stored from now on will be shown. Throws `KvError`: `bucket_not_found`,
   * `unavailable`.
   */
  follow(bucket: string, follower: FeedFollower): Promise<Following>;
}

/** How far a feed is: what was shown to its followers, and what it remembers of that. */
import type { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Change } from "../read/delivery.js";
import type { StreamState } from "../read/stream-api.js";
import type { FeedEnd, FeedFollower, LostRevisions } from "./bucket-feed.js";
import { DeletedKeys } from "./deleted-keys.js";
import { Followers } from "./followers.js";
import { RecentChanges } from "./recent-changes.js";
import { type LastSeen, lastSeenOf } from "./rollback.js";
import { SequenceWaiters } from "./sequence-waiters.js";

export interface FeedPositionOptions {
  readonly bucket: string;
  readonly subjectPrefix: string;
  /** What the memory of recent changes may take at present. */
  readonly recentBytesMax: () => number;
  /** A follower threw. */
  readonly onFault: (follower: FeedFollower, error: unknown) => void;
  /** The last follower is gone. */
  readonly onIdle: () => void;
  /** Somebody has waited for a sequence for `patienceMs`. */
  readonly onOverdue: () => void;
  readonly patienceMs: number;
}

export class FeedPosition {
  /** Every message up to this sequence was shown to the followers, or passed over as lost. */
  sequence = 0;
  /** When there was last nothing more to show. */
  completeAtMs = 0;
  readonly recent: RecentChanges;
  readonly followers: Followers;
  private readonly waiters: SequenceWaiters;
  private readonly deleted = new DeletedKeys();
  private last: Change | LastSeen = { sequence: 0, storedAtNanos: 0n, change: undefined };
  /** How far the storage's clock is ahead of ours. */
  private clockAheadMs = 0;
  private ageMsMax = 0;

  constructor(private readonly options: FeedPositionOptions) {
    this.recent = new RecentChanges(options.recentBytesMax);
    this.followers = new Followers(options.onFault, options.onIdle);
    this.waiters = new SequenceWaiters(options.bucket, options.patienceMs, options.onOverdue);
  }

  /** The last message that was shown, or that the stream had when the feed began. */
  get lastSeen(): LastSeen {
    const { last, ageMsMax, options } = this;
    return "change" in last ? last : lastSeenOf(last, options.subjectPrefix, ageMsMax);
  }

  /** Begins after the stream's last message. */
  begin(state: StreamState): void {
    const { lastSequence: sequence, lastStoredAtNanos: storedAtNanos } = state;
    this.sequence = sequence;
    this.last = { sequence, storedAtNanos, change: undefined };
    this.recent.reset(sequence);
    this.complete(state);
  }

  /** Shows the message of the next sequence. */
  apply(change: Change): void {
    this.sequence = change.revision;
    this.last = change;
    // By its age: what was stored after it is still on its way.
    const ageMs = Math.max(0, Date.now() + this.clockAheadMs - change.timeMs);
    this.completeAtMs = Math.max(this.completeAtMs, performance.now() - ageMs);
    change.repeatsDelete = this.deleted.isRepeated(change);
    this.recent.add(change);
    this.followers.change(change);
    this.waiters.passed(this.sequence);
  }

  /** What is up to this sequence, inclusive, and was not shown is not stored any more. */
  passOver(through: number, isSuperseded = true): void {
    if (through <= this.sequence) return;
    const lost: LostRevisions = { from: this.sequence + 1, through, isSuperseded };
    this.sequence = through;
    if (isSuperseded) this.recent.add(lost);
    else this.recent.reset(through);
    this.followers.lost(lost);
    this.waiters.passed(through);
  }

  /** Whether another message of its sequence was shown. A new leader of a cluster may publish one again; that is the same. */
  contradicts({ revision, storedAtNanos }: Change): boolean {
    const shown = this.recent.at(revision);
    return shown !== undefined && shown.storedAtNanos !== storedAtNanos;
  }

  /** The stream's leader says that nothing is missing. */
  confirm(state: StreamState): void {
    if (this.sequence < state.lastSequence) return;
    this.complete(state);
    this.followers.checked(state);
  }

  /** Resolves when the sequence was shown. */
  waitFor(sequence: number, context: CallContext): Promise<void> {
    return this.waiters.wait(sequence, context);
  }

  /** Nothing follows. */
  end(end: FeedEnd, error: KvError): void {
    this.waiters.failAll(error);
    this.followers.ended(end);
  }

  private complete({ nowMs, ageMsMax }: StreamState): void {
    this.completeAtMs = performance.now();
    this.clockAheadMs = nowMs - Date.now();
    this.ageMsMax = ageMsMax;
  }
}

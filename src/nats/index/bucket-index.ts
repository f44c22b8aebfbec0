/**
 * The index of one bucket: its live keys, loaded once by a read of the stream without values, and kept current by the bucket's feed.
 *
 * Beside the live keys it knows every other subject that has a message: tombstones, and keys that another program wrote and that are not
 * shown. So the number of subjects that the stream reports proves that nothing went without a message, such as by a purge of the stream.
 */
import { escapeKey, unescapeKey } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import type { FeedEnd, FeedFollower, Following, LostRevisions } from "../feed/bucket-feed.js";
import type { Change } from "../read/delivery.js";
import type { StreamState } from "../read/stream-api.js";
import type { KeyFacts } from "./key-leaf.js";
import { KeyTree } from "./key-tree.js";
import { StoredSubjects } from "./stored-subjects.js";
import { SubjectCounts } from "./subject-counts.js";

/** What an index is compared with: what the stream's leader says of it. */
export type Checked = Pick<
  StreamState,
  "created" | "subjects" | "lastSequence" | "ageMsMax" | "compactedTo" | "nowMs"
>;

export interface BucketIndexOptions {
  /** The index does not describe the bucket any more, or can't be kept current. */
  readonly onOver: (why: string) => void;
  /**
   * Accept that the stream has another number of subjects than the index after loading: it was loaded twice, and nothing explains it. Later
   * differences count from there.
   */
  readonly acceptsDifference: boolean;
}

/** Keys that are removed at once when they expire: about a millisecond's work. */
const EXPIRED_AT_ONCE = 500;
/** The longest subject. The server refuses longer control lines. */
const SUBJECT_BYTES_MAX = 65_536;
/** What a message takes in the stream's file beside its subject, headers and value (nats-server, filestore.go). */
const RECORD_BYTES = 22;

const scratch = Buffer.allocUnsafeSlow(SUBJECT_BYTES_MAX);
const storedScratch = Buffer.allocUnsafeSlow(SUBJECT_BYTES_MAX);

export class BucketIndex implements FeedFollower {
  /** The live keys. Read it in one turn of the event loop, or take a snapshot. */
  readonly keys = new KeyTree();
  isOver = false;
  /** Whether the number of subjects was found to be the stream's. */
  isVerified = false;
  private readonly others = new StoredSubjects();
  private readonly counts = new SubjectCounts();
  private following: Following | undefined;
  private ageMsMax = 0;
  private clockAheadMs = 0;
  private isLoading = true;
  /** Until the feed has been compared with the stream again: the connection was lost, and the storage may have lost what it had. */
  private doubt: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  /** Subjects that the stream has less than the index, where that was accepted. */
  private accepted = 0;

  constructor(private readonly options: BucketIndexOptions) {}

  /** Every message up to here is in the index. */
  get revision(): number {
    return this.following?.position ?? 0;
  }

  get memoryBytes(): number {
    return this.keys.memoryBytes + this.others.memoryBytes;
  }

  /** When the bucket was created, as the server wrote it. */
  get created(): string {
    return this.following?.origin.created ?? "";
  }

  /** Begins to follow. `state`: of the stream, at or after the start. */
  follow(following: Following, state: Checked): void {
    this.following = following;
    this.ageMsMax = state.ageMsMax;
    this.clockAheadMs = state.nowMs - Date.now();
  }

  /** Takes a message that was stored before the feed began. */
  load(change: Change): void {
    const { storedKey, revision } = change;
    if (this.otherRevision(storedKey) > revision) return;
    // The tree keeps the newer of two values by itself.
    if (!change.isTombstone || this.liveRevision(storedKey) < revision) this.apply(change);
  }

  /** Everything that was stored before the feed began is in. */
  loaded(): void {
    this.isLoading = false;
  }

  /** Resolves when the index has every message up to this one; undefined: it has. Throws `KvError`. */
  appliedThrough(sequence: number, context: CallContext): Promise<void> | undefined {
    return this.revision >= sequence ? undefined : this.following?.appliedThrough(sequence, context);
  }

  /** The connection to the storage is gone. */
  interrupt(): void {
    if (this.doubt !== undefined) return;
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => (end = resolve));
    this.doubt = { over, end };
  }

  /** Resolves when it is certain that the storage has what is in the index, or the index is over; undefined: it is. */
  confirmed(): Promise<void> | undefined {
    if (this.doubt !== undefined) void this.following?.check();
    return this.doubt?.over;
  }

  /** Removes keys that have expired by now. False: call again, there are more. */
  sweep(): boolean {
    const nowMs = Date.now() + this.clockAheadMs;
    const expired = this.keys.expired(nowMs, EXPIRED_AT_ONCE);
    for (const key of expired) {
      const facts = this.keys.get(key);
      this.keys.delete(key);
      const subject = Buffer.from(escapeKey(Buffer.from(key).toString()));
      if (facts !== undefined) this.others.expire(subject, facts, nowMs);
    }
    this.counts.subtract(this.others.sweep(nowMs));
    return expired.length < EXPIRED_AT_ONCE;
  }

  change(change: Change): void {
    if (this.isOver) return;
    this.apply(change);
    this.counts.note(change.revision, this.subjects);
  }

  lost({ isSuperseded }: LostRevisions): void {
    if (!isSuperseded) this.end("changes were lost");
  }

  ended(end: FeedEnd): void {
    this.end(end.kind);
  }

  /** The feed was compared with the stream. */
  checked(state: Checked): void {
    this.compare(state);
    this.doubt?.end();
    this.doubt = undefined;
  }

  /** Compares the index with the stream; ends it where something changed without a message. */
  compare(state: Checked): void {
    if (this.isOver) return;
    this.clockAheadMs = state.nowMs - Date.now();
    if (this.following === undefined || this.isLoading) return;
    if (state.created !== this.created) this.end("the bucket was recreated");
    else if (state.ageMsMax !== this.ageMsMax) this.end("the ttl was changed");
    else this.verify(state);
  }

  /** Stops following. */
  close(): void {
    this.isOver = true;
    this.doubt?.end();
    this.following?.stop();
  }

  private get subjects(): number {
    return this.keys.size + this.others.size;
  }

  private apply(change: Change): void {
    const { storedKey } = change;
    const key = unescapeKey(storedKey);
    const facts: KeyFacts = {
      revision: change.revision,
      timeMs: change.timeMs,
      storedBytes: RECORD_BYTES + storedKey.length + change.messageBytes,
      valueBytes: change.valueBytes,
      expiresAtMs: change.expiresAtMs(this.ageMsMax),
    };
    const isLive = key !== undefined && !change.isTombstone;
    if (key !== undefined) {
      const length = scratch.write(key);
      if (isLive) this.keys.set(scratch, facts, length);
      else this.keys.delete(scratch, length);
    }
    if (isLive && this.others.size === 0) return;
    const length = storedScratch.write(storedKey);
    if (isLive) this.others.delete(storedScratch, length);
    else this.others.set(storedScratch, facts, length);
  }

  private otherRevision(storedKey: string): number {
    return this.others.size === 0 ? 0 : this.others.revisionOf(storedScratch, storedScratch.write(storedKey));
  }

  private liveRevision(storedKey: string): number {
    const key = unescapeKey(storedKey);
    return key === undefined ? 0 : this.keys.revisionOf(scratch, scratch.write(key));
  }

  private verify(state: Checked): void {
    if (!this.sweep()) return;
    const isNow = state.lastSequence === this.revision;
    const known = isNow ? this.subjects : this.counts.at(state.lastSequence);
    if (known === undefined) return;
    const gone = known - this.accepted - state.subjects;
    if (gone >= 0 && gone <= this.others.removable(state.compactedTo)) {
      this.isVerified = true;
      if (gone > 0) void this.forgetCompacted(state.compactedTo, gone);
    } else if (this.options.acceptsDifference && !this.isVerified) {
      this.isVerified = true;
      this.accepted = gone;
    } else {
      this.end(`the stream has ${state.subjects} subjects and not ${known - this.accepted}`);
    }
  }

  private async forgetCompacted(compactedTo: number, gone: number): Promise<void> {
    this.counts.subtract(await this.others.forgetCompacted(compactedTo, gone));
  }

  private end(why: string): void {
    if (this.isOver) return;
    this.close();
    this.options.onOver(why);
  }
}

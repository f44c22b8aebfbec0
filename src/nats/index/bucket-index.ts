/**
 * The index of one bucket: its live keys, loaded once by a read of the stream without values, and kept current by the bucket's feed.
 *
 * Beside the live keys it knows every other subject that has a message: tombstones, and keys that another program wrote and that are not
 * shown. So the number of subjects that the stream reports proves that nothing went without a message, such as by a purge of the stream.
 *
 * Where the live keys do not fit into memory, it has a window of them (see key-window.ts), and all other subjects. Their number and the stream's
 * tell how many keys are live. Nothing proves then that no message went without a trace, so a window is used for a short time.
 */
import type { CallContext } from "../../kv/call-context.js";
import type { FeedEnd, FeedFollower, Following, LostRevisions } from "../feed/bucket-feed.js";
import { within } from "../client/jetstream-api.js";
import type { Change } from "../read/delivery.js";
import type { MessageHead } from "../read/message-head.js";
import type { KeyFacts } from "./key-leaf.js";
import { IndexLoading } from "./index-loading.js";
import type { BucketIndexOptions } from "./index-options.js";
import { type KeyWindow, type NeededKeys, wholeWindow } from "./key-window.js";
import { type Latch, newLatch } from "./latch.js";
import type { IndexCheckpoint } from "./checkpoint.js";
import { IndexState, isElsewhere } from "./index-state.js";
import type { KeySnapshot, KeyTree } from "./key-tree.js";
import type { Checked } from "./checked.js";
import { SubjectCheck } from "./subject-check.js";

/** How long a window is used. What another program removed without a message is seen after this time. */
const WINDOW_MS_MAX = 30_000;
/** How long to wait for the rest of a commit, which is on its way: the storage stores a commit at once. */
const COMMIT_REST_MS_MAX = 1_000;

export class BucketIndex implements FeedFollower {
  isOver = false;
  /** Read it in one turn of the event loop. */
  readonly state = new IndexState();
  private held: KeyWindow | undefined;
  private readonly loadedAtMs = performance.now();
  private compactedBefore = 0;
  /** Until it is loaded. */
  private loading: IndexLoading | undefined;
  private loadPeakBytes = 0;
  private readonly subjects: SubjectCheck;
  private following: Following | undefined;
  private ageMsMax = 0;
  private clockAheadMs = 0;
  /** Until the feed has been compared with the stream again: the connection was lost, and the storage may have lost what it had. */
  private doubt: Latch | undefined;
  /**
   * Until the feed has shown everything again: it has passed over revisions that are superseded by later ones. In between, the index lacks what
   * they wrote.
   */
  private gap: Latch | undefined;
  private isRestored = false;
  /** The last revision of the newest commit of which a write is in the index. */
  private commitEnd = 0;

  constructor(private readonly options: BucketIndexOptions) {
    this.subjects = new SubjectCheck(this.state, options.acceptsDifference);
    this.loading = new IndexLoading(
      this.state,
      options,
      () => this.hasTooManyTombstones,
      () => this.isRestored,
    );
  }

  /** The keys that it holds. Final when it is loaded. */
  get window(): KeyWindow {
    return this.held ?? this.loading?.window ?? wholeWindow();
  }

  /** Whether a read that needs these keys can begin with it. */
  serves(needed: NeededKeys): boolean {
    const { window } = this;
    const isRecent = performance.now() - this.loadedAtMs < WINDOW_MS_MAX;
    return window.isAll || (isRecent && window.serves(needed));
  }

  /** Whether the number of subjects was found to be the stream's. */
  get isVerified(): boolean {
    return this.subjects.isVerified;
  }

  /** Whether it has more tombstones than fit into the memory for all indexes. */
  get hasTooManyTombstones(): boolean {
    return this.state.others.memoryBytes > this.options.sizes.wholeBytesMax;
  }

  /** The subjects without a live key, as of a revision; undefined: that is not known any more. */
  subjectsWithoutKey(revision: number): number | undefined {
    return revision === this.revision ? this.state.others.presentCount : this.subjects.at(revision);
  }

  /** Whether a key of the window was written after a revision. Other calls are served meanwhile. */
  async hasChangedSince(revision: number): Promise<boolean> {
    return this.compactedBefore > revision || this.state.hasChangedSince(revision, this.window);
  }

  /** The live keys. Read it in one turn of the event loop, or take a snapshot. */
  get keys(): KeyTree {
    return this.state.tree;
  }

  /** Every message up to here is in the index. */
  get revision(): number {
    return this.following?.position ?? 0;
  }

  /** The change of this revision, if the feed's memory has it: also of one that the storage has superseded since. */
  recent(revision: number): Change | undefined {
    return this.following?.remembered(revision);
  }

  /** The storage's clock, in milliseconds since 1970. */
  get nowMs(): number {
    return Date.now() + this.clockAheadMs;
  }

  get memoryBytes(): number {
    return this.state.memoryBytes + (this.loading?.memoryBytes ?? 0);
  }

  /** The most memory that it took while it was loaded. */
  get peakBytes(): number {
    return this.loading?.peakBytes ?? this.loadPeakBytes;
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
    this.compactedBefore = state.compactedTo;
  }

  /** Takes a message that was stored before the feed began. The messages of a key may come in any order. */
  load(head: MessageHead): void {
    this.loading?.load(head, this.ageMsMax);
  }

  /** What {@link restore} needs; undefined while it is not certain that the index describes the bucket. */
  checkpoint(): IndexCheckpoint<KeySnapshot> | undefined {
    const { following, created, ageMsMax } = this;
    const { accepted } = this.subjects;
    const isLoaded = this.loading === undefined && this.isVerified && this.window.isAll;
    const isCertain = isLoaded && this.doubt === undefined && this.gap === undefined;
    if (this.isOver || following === undefined || !isCertain) return undefined;
    const { revision, lastSeen } = { revision: this.revision, lastSeen: following.lastSeen };
    return { created, ageMsMax, accepted, revision, lastSeen, ...this.state.snapshot() };
  }

  /** Takes what the index had at a revision. Only what was stored after it is then to be loaded, in its order. */
  restore(checkpoint: IndexCheckpoint): void {
    this.state.restore(checkpoint);
    this.subjects.accepted = checkpoint.accepted;
    this.isRestored = true;
  }

  /** See `IndexState`. */
  newest(accepts: (revision: number) => boolean, compactedTo: number): Promise<KeyFacts | undefined> {
    return this.state.newest(accepts, compactedTo, this.nowMs);
  }

  /** Whether the index has as many subjects as the stream; undefined: that can't be said now. */
  agreesWith(state: Checked): boolean | undefined {
    return this.isOver || !this.sweep() ? undefined : this.subjects.agrees(state, this.revision);
  }

  /** Ends the index: it does not describe the bucket. */
  refuse(why: string): void {
    this.end(why);
  }

  /** Everything that was stored before the feed began has been loaded. Resolves when the index can be read. */
  async loaded(): Promise<void> {
    const { loading } = this;
    if (loading === undefined) return;
    await loading.finish(() => this.isOver);
    loading.applyKept();
    this.held = loading.window;
    this.loadPeakBytes = loading.peakBytes;
    this.loading = undefined;
  }

  /** Resolves when the index has every message up to this one; undefined: it has. Throws `KvError`. */
  appliedThrough(sequence: number, context: CallContext): Promise<void> | undefined {
    return this.revision >= sequence ? undefined : this.following?.appliedThrough(sequence, context);
  }

  /** Resolves when no commit is partly in the index, or its rest does not come; undefined: none is. */
  wholeCommit(context: CallContext): Promise<void> | undefined {
    const { commitEnd } = this;
    if (this.revision >= commitEnd) return undefined;
    return this.appliedThrough(commitEnd, within(context, COMMIT_REST_MS_MAX))?.catch(() => {
      // Another program wrote something like the beginning of a commit.
      if (this.commitEnd === commitEnd && !this.isOver) this.commitEnd = 0;
    });
  }

  /** Whether it can be read at once, with every message up to this one. */
  isReadable(sequence: number): boolean {
    const isWhole = this.gap === undefined && this.revision >= Math.max(sequence, this.commitEnd);
    return !this.isOver && this.confirmed() === undefined && isWhole && this.sweep();
  }

  /** Resolves when the index has what superseded the revisions that the feed has passed over; undefined: it has. */
  complete(): Promise<void> | undefined {
    if (this.gap !== undefined) void this.following?.check();
    return this.gap?.over;
  }

  /** The connection to the storage is gone. */
  interrupt(): void {
    this.doubt ??= newLatch();
  }

  /** Resolves when it is certain that the storage has what is in the index, or the index is over; undefined: it is. */
  confirmed(): Promise<void> | undefined {
    if (this.doubt !== undefined) void this.following?.check();
    return this.doubt?.over;
  }

  /** Removes keys that have expired by now. False: call again, there are more. */
  sweep(): boolean {
    const { gone, isDone } = this.state.sweep(this.nowMs);
    if (this.window.isAll) this.subjects.subtract(gone);
    return isDone;
  }

  change(change: Change): void {
    if (this.isOver) return;
    const { storedKey, isTombstone } = change;
    this.commitEnd = Math.max(this.commitEnd, change.commitEnd);
    const stored = { storedKey, isTombstone, facts: this.state.factsOf(change, this.ageMsMax) };
    if (this.loading !== undefined) {
      this.loading.keep(stored);
      return;
    }
    if (isElsewhere(this.window, stored)) this.state.applyElsewhere(stored);
    else this.state.apply(stored);
    const { state, window } = this;
    this.subjects.note(change.revision, window.isAll ? state.subjects : state.others.presentCount);
  }

  lost({ isSuperseded }: LostRevisions): void {
    if (isSuperseded) this.gap ??= newLatch();
    else this.end("changes were lost");
  }

  ended(end: FeedEnd): void {
    this.end(end.kind);
  }

  /** The feed was compared with the stream. */
  checked(state: Checked): void {
    this.compare(state);
    for (const latch of [this.doubt, this.gap]) latch?.end();
    this.doubt = undefined;
    this.gap = undefined;
  }

  /** Compares the index with the stream; ends it where something changed without a message. */
  compare(state: Checked): void {
    if (this.isOver) return;
    this.clockAheadMs = state.nowMs - Date.now();
    if (this.following === undefined || this.loading !== undefined) return;
    if (state.created !== this.created) this.end("the bucket was recreated");
    else if (state.ageMsMax !== this.ageMsMax) this.end("the ttl was changed");
    else this.verify(state);
  }

  /** Stops following. */
  close(): void {
    this.isOver = true;
    for (const latch of [this.doubt, this.gap]) latch?.end();
    this.following?.stop();
  }

  private verify(state: Checked): void {
    if (!this.sweep()) return;
    if (this.window.isAll) {
      const why = this.subjects.verify(state, this.revision);
      if (why !== undefined) this.end(why);
      return;
    }
    this.subjects.isVerified = true;
    if (state.compactedTo > this.compactedBefore) this.end("tombstones were compacted");
  }

  private end(why: string): void {
    if (this.isOver) return;
    this.close();
    this.options.onOver(why);
  }
}

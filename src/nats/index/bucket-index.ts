/**
 * The index of one bucket: its live keys, loaded once by a read of the stream without values, and kept current by the bucket's feed.
 *
 * Beside the live keys it knows every other subject that has a message: tombstones, and keys that another program wrote and that are not
 * shown. So the number of subjects that the stream reports proves that nothing went without a message, such as by a purge of the stream.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { escapeKey, isPlainKey, unescapeKey } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import type { FeedEnd, FeedFollower, Following, LostRevisions } from "../feed/bucket-feed.js";
import type { Change } from "../read/delivery.js";
import type { StreamState } from "../read/stream-api.js";
import type { MessageHead } from "../read/message-head.js";
import type { KeyFacts } from "./key-leaf.js";
import { KeyLoad } from "./key-load.js";
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
/** Changes that are applied at once after loading: about a millisecond's work. */
const CHANGES_AT_ONCE = 200;
/** The longest subject. The server refuses longer control lines. */
const SUBJECT_BYTES_MAX = 65_536;
/** What a message takes in the stream's file beside its subject, headers and value (nats-server, filestore.go). */
const RECORD_BYTES = 22;

const scratch = Buffer.allocUnsafeSlow(SUBJECT_BYTES_MAX);
const storedScratch = Buffer.allocUnsafeSlow(SUBJECT_BYTES_MAX);

/** What a message changes. */
interface StoredChange {
  readonly storedKey: string;
  readonly isTombstone: boolean;
  readonly facts: KeyFacts;
}

export class BucketIndex implements FeedFollower {
  isOver = false;
  /** Whether the number of subjects was found to be the stream's. */
  isVerified = false;
  private tree = new KeyTree();
  private readonly others = new StoredSubjects();
  /** The live keys that have been read, until all are in the tree. */
  private reading: KeyLoad | undefined = new KeyLoad();
  /** By stored key: what the feed has brought meanwhile. */
  private newer = new Map<string, StoredChange>();
  private readonly counts = new SubjectCounts();
  private following: Following | undefined;
  private ageMsMax = 0;
  private clockAheadMs = 0;
  /** Until the feed has been compared with the stream again: the connection was lost, and the storage may have lost what it had. */
  private doubt: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  /** Subjects that the stream has less than the index, where that was accepted. */
  private accepted = 0;

  constructor(private readonly options: BucketIndexOptions) {}

  /** The live keys. Read it in one turn of the event loop, or take a snapshot. */
  get keys(): KeyTree {
    return this.tree;
  }

  /** Every message up to here is in the index. */
  get revision(): number {
    return this.following?.position ?? 0;
  }

  /** The change of this revision, if the feed's memory has it: also of one that the storage has superseded since. */
  recent(revision: number): Change | undefined {
    return this.following?.remembered(revision);
  }

  /** The revision of the tombstone that a key has; 0: it has none, or the tombstone may be gone from the storage by now. */
  tombstoneOf(storedKey: string): number {
    return this.others.presentRevisionOf(storedScratch, storedScratch.write(storedKey));
  }

  /** Whether a key without a value had one that has expired, and nothing was stored for it since. */
  hasExpired(storedKey: string): boolean {
    const length = storedScratch.write(storedKey);
    return this.others.revisionOf(storedScratch, length) > 0 && this.tombstoneOf(storedKey) === 0;
  }

  /** The storage's clock, in milliseconds since 1970. */
  get nowMs(): number {
    return Date.now() + this.clockAheadMs;
  }

  get memoryBytes(): number {
    return this.tree.memoryBytes + this.others.memoryBytes + (this.reading?.memoryBytes ?? 0);
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

  /** Takes a message that was stored before the feed began. The messages of a key may come in any order. */
  load(head: MessageHead): void {
    const { bytes, keyStart, keyEnd } = head;
    const facts = this.factsOf(head, keyEnd - keyStart);
    if (!head.isTombstone && isPlainKey(bytes, keyStart, keyEnd)) {
      this.reading?.add(bytes, keyStart, keyEnd, facts);
      return;
    }
    const { storedKey } = head;
    const key = unescapeKey(storedKey);
    if (key !== undefined && !head.isTombstone) {
      this.reading?.add(scratch, 0, scratch.write(key), facts);
      return;
    }
    const length = storedScratch.write(storedKey);
    if (this.others.revisionOf(storedScratch, length) < facts.revision)
      this.others.set(storedScratch, facts, length);
  }

  /** Everything that was stored before the feed began has been loaded. Resolves when the index can be read. */
  async loaded(): Promise<void> {
    const { reading } = this;
    if (reading === undefined) return;
    this.tree = await reading.finish((key, start, length, revision) =>
      this.isNewest(key, start, length, revision),
    );
    while (this.newer.size > CHANGES_AT_ONCE && !this.isOver) {
      const changes = this.newer;
      this.newer = new Map();
      let applied = 0;
      for (const change of changes.values()) {
        this.applyUnlessOlder(change);
        if (++applied % CHANGES_AT_ONCE === 0) await nextTurn();
      }
    }
    for (const change of this.newer.values()) this.applyUnlessOlder(change);
    this.newer = new Map();
    this.reading = undefined;
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
    const { nowMs } = this;
    const expired = this.tree.expired(nowMs, EXPIRED_AT_ONCE);
    for (const key of expired) {
      const facts = this.tree.get(key);
      this.tree.delete(key);
      const subject = Buffer.from(escapeKey(Buffer.from(key).toString()));
      if (facts !== undefined) this.others.expire(subject, facts, nowMs);
    }
    this.counts.subtract(this.others.sweep(nowMs));
    return expired.length < EXPIRED_AT_ONCE;
  }

  change(change: Change): void {
    if (this.isOver) return;
    const { storedKey, isTombstone } = change;
    const stored = { storedKey, isTombstone, facts: this.factsOf(change, storedKey.length) };
    if (this.reading !== undefined) {
      this.newer.set(storedKey, stored);
      return;
    }
    this.apply(stored);
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
    if (this.following === undefined || this.reading !== undefined) return;
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
    return this.tree.size + this.others.size;
  }

  private factsOf(message: Change | MessageHead, keyBytes: number): KeyFacts {
    return {
      revision: message.revision,
      timeMs: message.timeMs,
      storedBytes: RECORD_BYTES + keyBytes + message.messageBytes,
      valueBytes: message.valueBytes,
      expiresAtMs: message.expiresAtMs(this.ageMsMax),
    };
  }

  private apply({ storedKey, isTombstone, facts }: StoredChange): void {
    const key = unescapeKey(storedKey);
    const isLive = key !== undefined && !isTombstone;
    if (key !== undefined) {
      const length = scratch.write(key);
      if (isLive) this.tree.set(scratch, facts, length);
      else this.tree.delete(scratch, length);
    }
    if (isLive && this.others.size === 0) return;
    const length = storedScratch.write(storedKey);
    if (isLive) this.others.delete(storedScratch, length);
    else this.others.set(storedScratch, facts, length);
  }

  /** Applies a change of the feed, unless what was read is newer. */
  private applyUnlessOlder(change: StoredChange): void {
    const { storedKey, facts } = change;
    const key = unescapeKey(storedKey);
    const live = key === undefined ? 0 : this.tree.revisionOf(scratch, scratch.write(key));
    const other = this.others.revisionOf(storedScratch, storedScratch.write(storedKey));
    if (Math.max(live, other) <= facts.revision) this.apply(change);
  }

  /** Whether a live key that was read has no newer tombstone. An older one is forgotten. */
  private isNewest(key: Uint8Array, start: number, length: number, revision: number): boolean {
    if (this.others.size === 0) return true;
    const text = Buffer.from(key.buffer, key.byteOffset + start, length).toString();
    const storedLength = storedScratch.write(escapeKey(text));
    const other = this.others.revisionOf(storedScratch, storedLength);
    if (other > revision) return false;
    if (other > 0) this.others.delete(storedScratch, storedLength);
    return true;
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

/** What an index knows: the live keys, and the other subjects that have a message. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { escapeKey, unescapeKey } from "../../kv/names.js";
import type { Change } from "../read/delivery.js";
import type { MessageHead } from "../read/message-head.js";
import type { IndexCheckpoint } from "./checkpoint.js";
import { KeyDetails } from "./key-details.js";
import type { KeyFacts } from "./key-leaf.js";
import { type KeySnapshot, KeyTree } from "./key-tree.js";
import type { KeyWindow } from "./key-window.js";
import { newestOf } from "./newest-key.js";
import { StoredSubjects } from "./stored-subjects.js";

/** What a message changes. */
export interface StoredChange {
  readonly storedKey: string;
  readonly isTombstone: boolean;
  readonly facts: KeyFacts;
}

/** About a millisecond's work. */
const VISITED_AT_ONCE = 4_000;
/** Keys that are removed at once when they expire: about a millisecond's work. */
const EXPIRED_AT_ONCE = 500;
/** The longest subject. The server refuses longer control lines. */
const SUBJECT_BYTES_MAX = 65_536;

const scratch = Buffer.allocUnsafeSlow(SUBJECT_BYTES_MAX);
const storedScratch = Buffer.allocUnsafeSlow(SUBJECT_BYTES_MAX);

export class IndexState {
  /** The live keys. */
  tree = new KeyTree();
  readonly others = new StoredSubjects();
  readonly details = new KeyDetails();

  /** Subjects that have a message. */
  get subjects(): number {
    return this.tree.size + this.others.size;
  }

  get memoryBytes(): number {
    return this.tree.memoryBytes + this.others.memoryBytes;
  }

  /** What the index knows of a message. `ageMsMax`: the bucket's ttl. */
  factsOf(message: Change | MessageHead, ageMsMax: number): KeyFacts {
    return {
      ...{ revision: message.revision, timeMs: message.timeMs, valueBytes: message.valueBytes },
      detail: this.details.of(message),
      expiresAtMs: message.expiresAtMs(ageMsMax),
    };
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

  /** Adds a subject that is no live key, unless a newer message of it is known. */
  addOther(storedKey: string, facts: KeyFacts): void {
    const length = storedScratch.write(storedKey);
    if (this.others.revisionOf(storedScratch, length) < facts.revision)
      this.others.set(storedScratch, facts, length);
  }

  apply({ storedKey, isTombstone, facts }: StoredChange): void {
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

  /** Applies a change unless what is known is newer. */
  applyUnlessOlder(change: StoredChange): void {
    const { storedKey, facts } = change;
    const key = unescapeKey(storedKey);
    const live = key === undefined ? 0 : this.tree.revisionOf(scratch, scratch.write(key));
    const other = this.others.revisionOf(storedScratch, storedScratch.write(storedKey));
    if (Math.max(live, other) <= facts.revision) this.apply(change);
  }

  /** Applies the put of a key that this index does not hold: a tombstone that it had is gone. */
  applyElsewhere({ storedKey, facts }: StoredChange): void {
    const length = storedScratch.write(storedKey);
    if (this.others.revisionOf(storedScratch, length) <= facts.revision)
      this.others.delete(storedScratch, length);
  }

  /** Whether a live key that was read has no newer tombstone. An older one is forgotten. */
  isNewest(key: Uint8Array, start: number, length: number, revision: number): boolean {
    if (this.others.size === 0) return true;
    const text = Buffer.from(key.buffer, key.byteOffset + start, length).toString();
    const storedLength = storedScratch.write(escapeKey(text));
    const other = this.others.revisionOf(storedScratch, storedLength);
    if (other > revision) return false;
    if (other > 0) this.others.delete(storedScratch, storedLength);
    return true;
  }

  /** Removes keys that have expired by now. `gone`: subjects that have no message any more. Not `isDone`: call again, there are more. */
  sweep(nowMs: number): { readonly gone: number; readonly isDone: boolean } {
    const expired = this.tree.expired(nowMs, EXPIRED_AT_ONCE);
    for (const key of expired) {
      const facts = this.tree.get(key);
      this.tree.delete(key);
      const subject = Buffer.from(escapeKey(Buffer.from(key).toString()));
      if (facts !== undefined) this.others.expire(subject, facts, nowMs);
    }
    return { gone: this.others.sweep(nowMs), isDone: expired.length < EXPIRED_AT_ONCE };
  }

  /** Whether a key of a window was written after a revision. Other calls are served meanwhile. */
  async hasChangedSince(revision: number, window: KeyWindow): Promise<boolean> {
    const { trees } = this.others.snapshot();
    let visited = 0;
    for (const snapshot of [this.tree.snapshot(), ...trees]) {
      for (const cursor = snapshot.cursor(0); cursor.next();) {
        if (++visited % VISITED_AT_ONCE === 0) await nextTurn();
        if (cursor.revision <= revision) continue;
        const key = snapshot === trees[0] || snapshot === trees[1] ? unescapeKey(cursor.key) : cursor.key;
        const bytes = Buffer.from(key ?? "");
        if (key !== undefined && window.includes(bytes, 0, bytes.length)) return true;
      }
    }
    return false;
  }

  /** What {@link restore} needs. */
  snapshot(): Pick<IndexCheckpoint<KeySnapshot>, "trees" | "compactedTo" | "contentTypes"> {
    const { trees, compactedTo } = this.others.snapshot();
    return {
      ...{ trees: [this.tree.snapshot(), ...trees], compactedTo },
      contentTypes: [...this.details.contentTypes],
    };
  }

  restore({ trees: [live, present, leaving], compactedTo, contentTypes }: IndexCheckpoint): void {
    this.tree = live;
    this.details.restore(contentTypes);
    this.others.restore(present, leaving, compactedTo);
  }

  /** The newest live key or tombstone that should still be stored, of those that `accepts`. */
  newest(
    accepts: (revision: number) => boolean,
    compactedTo: number,
    nowMs: number,
  ): Promise<KeyFacts | undefined> {
    const { trees } = this.others.snapshot();
    return newestOf([this.tree.snapshot(), trees[0]], ({ revision, expiresAtMs }, isLive) => {
      const mayBeGone = expiresAtMs <= nowMs || (!isLive && revision <= compactedTo);
      return !mayBeGone && accepts(revision);
    });
  }
}

/** Whether a change is the put of a key that is not in the window. */
export function isElsewhere(window: KeyWindow, { storedKey, isTombstone }: StoredChange): boolean {
  if (isTombstone || window.isAll) return false;
  const key = unescapeKey(storedKey);
  if (key === undefined) return false;
  const bytes = Buffer.from(key);
  return !window.includes(bytes, 0, bytes.length);
}

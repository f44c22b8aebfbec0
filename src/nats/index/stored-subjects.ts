/**
 * The subjects of a bucket's stream that have a message but no live value: tombstones, what has expired and may still be stored, and
 * keys that another program wrote and that are not shown. Subjects are given in their stored form, without the bucket's prefix.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { KeyFacts } from "./key-leaf.js";
import { type KeySnapshot, KeyTree } from "./key-tree.js";

/** How long the server may take to remove what has expired. It is mostly done at once. */
const REMOVAL_LAG_MS = 120_000;
const AT_ONCE = 500;

export class StoredSubjects {
  private present = new KeyTree();
  /** Expired; `expiresAtMs` says until when they may still be stored. */
  private leaving = new KeyTree();
  /** No tombstone up to this revision is left in `present`. */
  private compactedTo = 0;
  private isForgetting = false;

  get size(): number {
    return this.present.size + this.leaving.size;
  }

  /** How many have not expired. */
  get presentCount(): number {
    return this.present.size;
  }

  /** How many have expired and may still be stored. */
  get expiredCount(): number {
    return this.leaving.size;
  }

  /** What {@link restore} needs. */
  snapshot(): { readonly trees: readonly [KeySnapshot, KeySnapshot]; readonly compactedTo: number } {
    return { trees: [this.present.snapshot(), this.leaving.snapshot()], compactedTo: this.compactedTo };
  }

  restore(present: KeyTree, leaving: KeyTree, compactedTo: number): void {
    this.present = present;
    this.leaving = leaving;
    this.compactedTo = compactedTo;
  }

  get memoryBytes(): number {
    return this.present.memoryBytes + this.leaving.memoryBytes;
  }

  revisionOf(subject: Uint8Array, length: number): number {
    if (this.size === 0) return 0;
    return this.present.revisionOf(subject, length) || this.leaving.revisionOf(subject, length);
  }

  /** The same, of those that have not expired. */
  presentRevisionOf(subject: Uint8Array, length: number): number {
    return this.present.revisionOf(subject, length);
  }

  set(subject: Uint8Array, facts: KeyFacts, length: number): void {
    this.present.set(subject, facts, length);
    if (this.leaving.size > 0) this.leaving.delete(subject, length);
  }

  /** A value or tombstone has expired. */
  expire(subject: Uint8Array, facts: KeyFacts, nowMs: number): void {
    this.leaving.set(subject, { ...facts, expiresAtMs: nowMs + REMOVAL_LAG_MS });
  }

  delete(subject: Uint8Array, length: number): void {
    if (this.size === 0) return;
    this.present.delete(subject, length);
    if (this.leaving.size > 0) this.leaving.delete(subject, length);
  }

  /** Moves what has expired, and forgets what must be gone by now. Returns how many it forgot. */
  sweep(nowMs: number): number {
    for (const subject of this.present.expired(nowMs, AT_ONCE)) {
      const facts = this.present.get(subject);
      this.present.delete(subject);
      if (facts !== undefined) this.expire(subject, facts, nowMs);
    }
    const gone = this.leaving.expired(nowMs, AT_ONCE);
    for (const subject of gone) this.leaving.delete(subject);
    return gone.length;
  }

  /** The most subjects that may have gone without a message, where tombstones up to a revision may have been compacted. */
  removable(compactedTo: number): number {
    return this.leaving.size + (compactedTo > this.compactedTo ? this.present.size : 0);
  }

  /**
   * Forgets the tombstones that compaction removed; `count` subjects are known to be gone. Resolves with how many it forgot: none while fewer
   * are gone, as then the compaction may still be under way.
   */
  async forgetCompacted(compactedTo: number, count: number): Promise<number> {
    if (compactedTo <= this.compactedTo || this.isForgetting) return 0;
    this.isForgetting = true;
    const old: Uint8Array[] = [];
    let visited = 0;
    for (const cursor = this.present.snapshot().cursor(new Uint8Array(0)); cursor.next();) {
      if (cursor.revision <= compactedTo) old.push(Buffer.from(cursor.key));
      if (++visited % AT_ONCE === 0) await nextTurn();
    }
    this.isForgetting = false;
    if (old.length > count) return 0;
    let forgotten = 0;
    for (const subject of old) {
      const revision = this.present.revisionOf(subject);
      if (revision === 0 || revision > compactedTo) continue;
      this.present.delete(subject);
      forgotten++;
    }
    this.compactedTo = compactedTo;
    return forgotten;
  }
}

/** Changes that arrived while something before them was missing. Bounded in bytes: what has no room is read from the stream later. */
import type { Change } from "../read/delivery.js";

const BYTES_MAX = 4_194_304;
const CHANGE_BYTES = 256;

export class PendingChanges {
  private changes: Change[] = [];
  private bytes = 0;
  private hasDropped = false;

  get count(): number {
    return this.changes.length;
  }

  /** Whether nothing waits, and nothing was dropped since the round began. */
  get isSettled(): boolean {
    return this.changes.length === 0 && !this.hasDropped;
  }

  beginRound(): void {
    this.hasDropped = false;
  }

  add(change: Change): void {
    // Decoded now: undecoded, it would keep all that the socket read with it in memory.
    change.entry();
    this.bytes += change.bytes + CHANGE_BYTES;
    if (this.bytes > BYTES_MAX) {
      this.clear();
      this.hasDropped = true;
      return;
    }
    this.changes.push(change);
  }

  /** Of the first `count`, drops those above a sequence that the stream has not reached: another program published them. */
  dropForged(count: number, lastSequence: number): void {
    this.changes = this.changes.filter((change, index) => index >= count || change.revision <= lastSequence);
  }

  /** Those up to a sequence, in any order. They stay. */
  upTo(sequence: number): readonly Change[] {
    return this.changes.filter(({ revision }) => revision <= sequence);
  }

  /** Takes out what continues after the position, in order; what is at or before it goes. */
  takeAfter(position: number): readonly Change[] {
    const sorted = this.changes.toSorted((left, right) => left.revision - right.revision);
    const taken: Change[] = [];
    let next = position + 1;
    for (const change of sorted) {
      if (change.revision > next) break;
      if (change.revision < next) continue;
      taken.push(change);
      next++;
    }
    this.changes = sorted.filter(({ revision }) => revision >= next);
    this.bytes = this.changes.reduce((sum, change) => sum + change.bytes + CHANGE_BYTES, 0);
    return taken;
  }

  clear(): void {
    this.changes = [];
    this.bytes = 0;
  }
}

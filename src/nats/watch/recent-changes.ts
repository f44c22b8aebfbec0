/** The last changes of a bucket, kept so that a watcher that is nearly up to date gets the rest from memory: a bounded number and size. */
import type { Change } from "../read/delivery.js";

const CHANGES_MAX = 1_024;
const BYTES_MAX = 524_288;
/** As many are kept whatever their size. */
const CHANGES_MIN = 4;

export class RecentChanges {
  /** Every change after this revision that the feed brought is here. */
  floor = 0;
  private changes: Change[] = [];
  private head = 0;
  private bytes = 0;
  private readonly changesMax: number;
  private readonly bytesMax: number;

  constructor(changesMax: number, bytesMax: number) {
    this.changesMax = Math.max(CHANGES_MIN, Math.min(changesMax, CHANGES_MAX));
    this.bytesMax = Math.min(bytesMax, BYTES_MAX);
  }

  add(change: Change): void {
    // Decoded now: undecoded, it would keep all that the socket read with it in memory.
    change.entry();
    this.changes.push(change);
    this.bytes += change.bytes;
    while (this.count > this.changesMax || (this.bytes > this.bytesMax && this.count > CHANGES_MIN)) {
      const oldest = this.changes[this.head++];
      if (oldest === undefined) break;
      this.floor = oldest.revision;
      this.bytes -= oldest.bytes;
    }
    if (this.head >= CHANGES_MAX) {
      this.changes = this.changes.slice(this.head);
      this.head = 0;
    }
  }

  /** Forgets everything: the feed goes on after this revision, and what was before may have a gap. */
  reset(floor: number): void {
    this.changes = [];
    this.head = 0;
    this.bytes = 0;
    this.floor = floor;
  }

  /** Calls `visit` with each change after the revision, in order. Only where `revision >= floor` are these all. */
  after(revision: number, visit: (change: Change) => void): void {
    let low = this.head;
    let high = this.changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.changes[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    for (let index = low; index < this.changes.length; index++) {
      const change = this.changes[index];
      if (change !== undefined) visit(change);
    }
  }

  private get count(): number {
    return this.changes.length - this.head;
  }
}

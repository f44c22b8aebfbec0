/**
 * The last changes of a bucket, kept in memory: a watcher that is nearly up to date gets the rest from here, also revisions that the storage
 * has superseded since. Without gaps: what was lost is an item too.
 */
import type { Change } from "../read/delivery.js";
import type { LostRevisions } from "./bucket-feed.js";

/** What an item takes beside its key and value. */
const ITEM_BYTES = 256;
/** As many are kept whatever their size. */
const ITEMS_MIN = 4;
const COMPACT_AT = 1_024;

type Item = Change | LostRevisions;

/** What is called for each item. */
export interface ReplayVisitor {
  /** False: no more. */
  change(change: Change): boolean;
  lost(lost: LostRevisions): void;
}

export class RecentChanges {
  /** Every sequence after this one, up to the feed's position, is in an item. */
  floor = 0;
  private items: Item[] = [];
  private head = 0;
  private bytes = 0;
  private lostThrough = 0;
  /** The last change of each key that has one here. */
  private readonly newest = new Map<string, Change>();

  /** `bytesMax`: what the ring may take at present. */
  constructor(private readonly bytesMax: () => number) {}

  get bytesUsed(): number {
    return this.bytes;
  }

  /** Adds what comes next. */
  add(item: Item): void {
    if (isLost(item)) this.lostThrough = item.through;
    else this.addToKey(item);
    this.items.push(item);
    this.bytes += bytesOf(item);
    this.trim();
  }

  hasRoomFor(bytes: number): boolean {
    return this.bytes + bytes <= this.bytesMax();
  }

  /** Adds what comes before the floor, from `from` to the floor without a gap. What has no room is dropped again. */
  prepend(from: number, earlier: readonly Item[]): void {
    this.items = [...earlier, ...this.items.slice(this.head)];
    this.head = 0;
    this.bytes += earlier.reduce((sum, item) => sum + bytesOf(item), 0);
    this.floor = from - 1;
    for (const item of earlier.toReversed())
      if (isLost(item)) this.lostThrough = Math.max(this.lostThrough, item.through);
      else if (!this.newest.has(item.storedKey)) this.newest.set(item.storedKey, item);
    this.trim();
  }

  /** Drops the oldest items that have no room. */
  trim(): void {
    const bytesMax = this.bytesMax();
    while (this.bytes > bytesMax && this.items.length - this.head > ITEMS_MIN) {
      const oldest = this.items[this.head++];
      if (oldest === undefined) break;
      this.floor = endOf(oldest);
      this.bytes -= bytesOf(oldest);
      if (!isLost(oldest) && this.newest.get(oldest.storedKey) === oldest)
        this.newest.delete(oldest.storedKey);
    }
    if (this.head >= COMPACT_AT && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
  }

  /** Forgets everything: the feed continues after this sequence. */
  reset(floor: number): void {
    this.items = [];
    this.head = 0;
    this.bytes = 0;
    this.floor = floor;
    this.newest.clear();
  }

  /** Visits what comes after the sequence, in order; without a gap only where `sequence >= floor`. Whether the visitor took all. */
  after(sequence: number, visitor: ReplayVisitor): boolean {
    for (let index = this.indexOf(sequence + 1); index < this.items.length; index++) {
      const item = this.items[index];
      if (item === undefined) continue;
      if (isLost(item)) visitor.lost(item);
      else if (!visitor.change(item)) return index + 1 === this.items.length;
    }
    return true;
  }

  /** The change of this sequence, if it is kept. */
  at(sequence: number): Change | undefined {
    if (sequence <= this.floor) return undefined;
    const item = this.items[this.indexOf(sequence)];
    return item === undefined || isLost(item) || item.revision !== sequence ? undefined : item;
  }

  private addToKey(change: Change): void {
    // Decoded now: undecoded, it would keep all that the socket read with it in memory.
    change.entry();
    const before = this.newest.get(change.storedKey)?.revision ?? 0;
    // The server knows of none where an entry expired: it is gone when its marker is stored.
    if ((change.replaces ?? 0) === 0 && before > this.lostThrough) change.replaces = before;
    this.newest.set(change.storedKey, change);
  }

  /** The first item that ends at or after the sequence. */
  private indexOf(sequence: number): number {
    let low = this.head;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const item = this.items[middle];
      if (item !== undefined && endOf(item) < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isLost(item: Item): item is LostRevisions {
  return "through" in item;
}

function endOf(item: Item): number {
  return isLost(item) ? item.through : item.revision;
}

function bytesOf(item: Item): number {
  return ITEM_BYTES + (isLost(item) ? 0 : item.bytes);
}

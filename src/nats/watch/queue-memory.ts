/**
 * The memory of the queues of all watches. An entry that several queues hold counts once. Above the limit, the watches with the most queued bytes
 * are ended as too slow.
 */
import type { Entry } from "../../kv/entry.js";
import type { WatchEvent } from "../../kv/watch.js";

/** What a queued entry takes beside its key and value, with its event and message: an estimate. */
const ENTRY_BYTES = 1_500;

/** A watch with a queue. */
export interface QueueOwner {
  readonly queuedBytes: number;
  /** Drops the queue and ends the watch as too slow. */
  endAsSlow(): void;
}

export class QueueMemory {
  /** Bytes held now. */
  bytes = 0;
  /** How many queued events have each entry. */
  private readonly holders = new Map<Entry, number>();
  private readonly owners = new Set<QueueOwner>();

  constructor(private readonly bytesMax: number) {}

  /** Whether catch-ups may read ahead for clients that are behind. The rest is for those that are not. */
  get hasRoom(): boolean {
    return this.bytes <= this.bytesMax / 2;
  }

  /** Counts an event that was queued. May end watches, also this one. */
  add(owner: QueueOwner, event: WatchEvent): void {
    this.owners.add(owner);
    for (const entry of entriesOf(event)) {
      const holders = this.holders.get(entry) ?? 0;
      this.holders.set(entry, holders + 1);
      if (holders === 0) this.bytes += bytesOf(entry);
    }
    if (this.bytes > this.bytesMax) this.endLargest();
  }

  /** Counts an event that left its queue. */
  remove(event: WatchEvent): void {
    for (const entry of entriesOf(event)) {
      const holders = this.holders.get(entry) ?? 0;
      if (holders > 1) {
        this.holders.set(entry, holders - 1);
      } else if (this.holders.delete(entry)) {
        this.bytes -= bytesOf(entry);
      }
    }
  }

  /** The queue is empty. */
  forget(owner: QueueOwner): void {
    this.owners.delete(owner);
  }

  private endLargest(): void {
    const owners = [...this.owners].sort((left, right) => right.queuedBytes - left.queuedBytes);
    for (const owner of owners) {
      if (this.bytes <= this.bytesMax) return;
      owner.endAsSlow();
    }
  }
}

function entriesOf(event: WatchEvent): readonly Entry[] {
  if (event.type !== "change") return NO_ENTRIES;
  return event.previous === undefined ? [event.entry] : [event.entry, event.previous];
}

function bytesOf({ key, value }: Entry): number {
  return ENTRY_BYTES + key.length + value.length;
}

const NO_ENTRIES: readonly Entry[] = [];

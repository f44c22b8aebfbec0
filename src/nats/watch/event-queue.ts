/** The events that wait for the reader of a watch, in order. */
import type { WatchEvent } from "../../kv/store.js";

/** An event in the queue. While `isPending`, it and everything behind it must wait: its previous entry is being looked up. */
export interface QueuedEvent {
  event: WatchEvent;
  readonly bytes: number;
  isPending: boolean;
}

/** From this many removed events on, the array is compacted once half of it is unused. */
const COMPACT_AT = 256;

export class EventQueue {
  /** The size of the queued events, in bytes of keys and values. */
  bytes = 0;
  /** Undefined while the queue is empty: ten thousand queues may exist. */
  private items: (WatchEvent | QueuedEvent | undefined)[] | undefined;
  private head = 0;

  get length(): number {
    return this.items === undefined ? 0 : this.items.length - this.head;
  }

  push(event: WatchEvent, bytes: number): void {
    (this.items ??= []).push(event);
    this.bytes += bytes;
  }

  /** Adds an event that can't leave the queue until `isPending` is false. */
  pushPending(event: WatchEvent, bytes: number): QueuedEvent {
    const queued: QueuedEvent = { event, bytes, isPending: true };
    (this.items ??= []).push(queued);
    this.bytes += bytes;
    return queued;
  }

  /** Removes the first event; undefined if there is none or it is pending. */
  shift(): WatchEvent | undefined {
    const { items } = this;
    const first = items?.[this.head];
    if (items === undefined || first === undefined || ("isPending" in first && first.isPending))
      return undefined;
    items[this.head] = undefined;
    this.head++;
    if (this.head === items.length) {
      this.items = undefined;
      this.head = 0;
    } else if (this.head >= COMPACT_AT && this.head * 2 >= items.length) {
      items.splice(0, this.head);
      this.head = 0;
    }
    this.bytes -= bytesOf(first);
    return eventOf(first);
  }

  /** The last event, if it is a progress event. */
  lastProgress(): (WatchEvent & { readonly type: "progress" }) | undefined {
    const last = this.items?.at(-1);
    const event = last === undefined ? undefined : eventOf(last);
    return event?.type === "progress" ? event : undefined;
  }

  /** Replaces the last event, which must be a progress event. */
  replaceLast(event: WatchEvent): void {
    if (this.items !== undefined) this.items[this.items.length - 1] = event;
  }

  /** The revision of the first change in the queue; undefined if there is none. */
  firstRevision(): bigint | undefined {
    const { items } = this;
    for (let index = this.head; items !== undefined && index < items.length; index++) {
      const item = items[index];
      const event = item === undefined ? undefined : eventOf(item);
      if (event?.type === "change") return event.entry.revision;
    }
    return undefined;
  }

  clear(): void {
    this.items = undefined;
    this.head = 0;
    this.bytes = 0;
  }
}

function eventOf(item: WatchEvent | QueuedEvent): WatchEvent {
  return "isPending" in item ? item.event : item;
}

function bytesOf(item: WatchEvent | QueuedEvent): number {
  if ("isPending" in item) return item.bytes;
  return item.type === "change" ? item.entry.value.length + item.entry.key.length : 0;
}

/** The events that wait for the reader of a watch, in order. */
import type { WatchEvent } from "../../kv/watch.js";
import type { QueueMemory, QueueOwner } from "./queue-memory.js";

/** An event in the queue. While `isPending`, it and everything behind it must wait: its previous entry is being looked up. */
export interface QueuedEvent {
  event: WatchEvent;
  isPending: boolean;
  /** Whether the queue was cleared meanwhile. */
  isDropped: boolean;
}

/** From this many removed events on, the array is compacted once half of it is unused. */
const COMPACT_AT = 256;

export class EventQueue {
  /** The size of the queued events, in bytes of keys and values. */
  bytes = 0;
  /** Undefined while the queue is empty: ten thousand queues may exist. */
  private items: (WatchEvent | QueuedEvent | undefined)[] | undefined;
  private head = 0;

  constructor(
    private readonly memory: QueueMemory,
    private readonly owner: QueueOwner,
  ) {}

  get length(): number {
    return this.items === undefined ? 0 : this.items.length - this.head;
  }

  /** Adds an event. Clears the queue if all queues together exceed their limit and this one is among the largest. */
  push(event: WatchEvent): void {
    (this.items ??= []).push(event);
    this.count(event);
  }

  /** Adds an event that can't leave the queue before `settle`. */
  pushPending(event: WatchEvent): QueuedEvent {
    const queued: QueuedEvent = { event, isPending: true, isDropped: false };
    (this.items ??= []).push(queued);
    this.count(event);
    return queued;
  }

  /** Replaces a pending event, which may leave the queue then. */
  settle(queued: QueuedEvent, event: WatchEvent): void {
    queued.isPending = false;
    const pending = queued.event;
    if (pending === event || queued.isDropped) return;
    queued.event = event;
    this.release(pending);
    this.count(event);
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
    const event = eventOf(first);
    this.release(event);
    if (this.items === undefined) this.memory.forget(this.owner);
    return event;
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
    for (const item of this.items ?? []) {
      if (item === undefined) continue;
      this.release(eventOf(item));
      if ("isDropped" in item) item.isDropped = true;
    }
    this.items = undefined;
    this.head = 0;
    this.memory.forget(this.owner);
  }

  private count(event: WatchEvent): void {
    this.bytes += bytesOf(event);
    this.memory.add(this.owner, event);
  }

  private release(event: WatchEvent): void {
    this.bytes -= bytesOf(event);
    this.memory.remove(event);
  }
}

function eventOf(item: WatchEvent | QueuedEvent): WatchEvent {
  return "isPending" in item ? item.event : item;
}

function bytesOf(event: WatchEvent): number {
  if (event.type !== "change") return 0;
  return event.entry.value.length + event.entry.key.length + (event.previous?.value.length ?? 0);
}

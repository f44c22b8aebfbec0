/** A watch as its reader sees it: an iterator over a bounded queue. Not a generator, which would cost more: ten thousand may be open. */
import type { KvError } from "../../kv/errors.js";
import type { Filter } from "../../kv/filter.js";
import type { Entry } from "../../kv/entry.js";
import type { Watch, WatchEvent } from "../../kv/watch.js";
import { type Change, withoutValue } from "../read/delivery.js";
import { notEveryChange, slowWatcher } from "./endings.js";
import { EventQueue } from "./event-queue.js";
import type { QueueMemory, QueueOwner } from "./queue-memory.js";
import { PULL_BYTES_MAX } from "./source.js";

/** The options of a watcher and the limits of its queue. */
export interface WatcherSettings {
  readonly bucket: string;
  readonly filters: readonly Filter[];
  readonly ignoreDeletes: boolean;
  readonly keysOnly: boolean;
  /** Finds the entry that a change replaced; returns undefined if it is gone. Undefined: the watch does not include it. */
  readonly previousOf: ((change: Change) => Entry | undefined | Promise<Entry | undefined>) | undefined;
  /** True: the watch ends instead of omitting a revision. */
  readonly everyChange: boolean;
  readonly queueEventsMax: number;
  readonly queueBytesMax: number;
  /** Of all queues. */
  readonly memory: QueueMemory;
  /** The position before the first event: the watcher ignores every change up to this revision. */
  readonly position: number;
  /** Called once when the watch ends, for any reason. */
  readonly onEnd: (watcher: Watcher) => void;
}

type ChangeEvent = WatchEvent & { type: "change" };

type PendingRead = { resolve(result: IteratorResult<WatchEvent>): void; reject(error: unknown): void };

const DONE: IteratorResult<WatchEvent> = { done: true, value: undefined };

/** A catch-up reads more only while at most this part of the queue is used: the rest holds what it reads. */
const CATCH_UP_FRACTION = 0.5;

export class Watcher implements Watch, QueueOwner {
  /** Every matching change up to this revision was queued. */
  position: number;
  isCatchingUp = false;
  /** The last revision that was omitted; 0: none was. */
  omittedThrough = 0;
  /** Whether the watch was ended because it was read too slowly. */
  wasSlow = false;
  private readonly queue: EventQueue;
  private pendingReads: PendingRead[] = [];
  private capacityWaiter: (() => void) | undefined;
  /** Revisions omitted since the last event. */
  private omitted = 0;
  private isEnded = false;
  /** Thrown when the queue is empty. */
  private finalError: KvError | undefined;

  constructor(private readonly settings: WatcherSettings) {
    this.position = settings.position;
    this.queue = new EventQueue(settings.memory, this);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get filters(): readonly Filter[] {
    return this.settings.filters;
  }
  get keysOnly(): boolean {
    return this.settings.keysOnly;
  }
  /** Whether the watch has ended: no event is queued any more. */
  get isOver(): boolean {
    return this.isEnded;
  }
  get queuedEvents(): number {
    return this.queue.length;
  }
  get queuedBytes(): number {
    return this.queue.bytes;
  }

  next(): Promise<IteratorResult<WatchEvent>> {
    const event = this.poll();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.queue.length === 0 && this.isEnded) {
      const error = this.takeFinalError();
      return error === undefined ? Promise.resolve(DONE) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => this.pendingReads.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<WatchEvent>> {
    this.end(undefined);
    this.finalError = undefined;
    return Promise.resolve(DONE);
  }

  poll(): WatchEvent | undefined {
    return this.pendingReads.length === 0 ? this.shift() : undefined;
  }

  /**
   * Queues a change. Changes arrive in the order of revisions; those up to the position are ignored. A change of the feed that exceeds the
   * queue's limits ends the watch; catch-ups wait for capacity instead. A snapshot's entries have no previous entry.
   */
  offer(change: Change, from: "feed" | "reader" | "snapshot" = "feed"): void {
    if (this.isEnded || change.revision <= this.position) return;
    const entry = change.entry();
    if (entry === undefined || (this.settings.ignoreDeletes && entry.operation !== "put")) {
      this.position = change.revision;
      return;
    }
    const event = change.event(entry, this.settings.keysOnly);
    const bytes = event.entry.value.length + entry.key.length;
    const isFull =
      this.queue.length >= this.settings.queueEventsMax ||
      (this.queue.bytes + bytes > this.settings.queueBytesMax && this.queue.length > 0);
    if (isFull && from === "feed") {
      this.endAsSlow();
      return;
    }
    this.position = change.revision;
    const { previousOf } = this.settings;
    const previous = from === "snapshot" ? undefined : previousOf?.(change);
    if (previous === undefined) this.push(this.withOmitted(event));
    else if (previous instanceof Promise) this.pushWithPrevious(this.withOmitted(event), previous);
    else this.push(this.withOmitted(this.withPrevious(event, previous)));
  }

  /** Queues an entry of a snapshot. */
  offerEntry(entry: Entry): void {
    const revision = Number(entry.revision);
    if (this.isEnded || revision <= this.position) return;
    this.position = revision;
    this.push(this.withOmitted({ type: "change", entry }));
  }

  /** Counts the revisions of a range as omitted, whatever their keys were. The next event has the count. */
  omit(from: number, through: number): void {
    const first = Math.max(from, this.position + 1);
    if (through < first) return;
    this.position = through;
    this.omittedThrough = through;
    this.countOmitted(first, through, through - first + 1);
  }

  /** Counts at most `count` revisions of a range as omitted. The position is past the range already. */
  countOmitted(from: number, through: number, count: number): void {
    if (this.isEnded || count === 0) return;
    this.omitted += count;
    if (this.settings.everyChange)
      this.endAfterQueue(notEveryChange(this.settings.bucket, from, through, count));
  }

  /** Moves the position without an event: nothing up to this revision is missing. */
  advance(position: number): void {
    if (position > this.position) this.position = position;
  }

  /** Queues a mark. A progress event replaces one at the end of the queue, so that they never fill it. */
  mark(event: WatchEvent): void {
    if (this.isEnded) return;
    const last = event.type === "progress" ? this.queue.lastProgress() : undefined;
    if (last === undefined) {
      this.push(this.withOmitted(event));
      return;
    }
    this.omitted += last.superseded ?? 0;
    this.queue.replaceLast(this.withOmitted(event));
  }

  /** Resolves when a catch-up may read more, or the watch ended. */
  async capacity(): Promise<void> {
    while (!this.isEnded && !this.hasCapacity()) {
      await new Promise<void>((resolve) => (this.capacityWaiter = resolve));
    }
  }

  hasCapacity(): boolean {
    const { queueEventsMax, queueBytesMax, memory } = this.settings;
    const bytesMax = queueBytesMax * CATCH_UP_FRACTION;
    return (
      this.queue.length <= queueEventsMax * CATCH_UP_FRACTION &&
      this.queue.bytes <= (memory.hasRoom ? bytesMax : Math.min(bytesMax, PULL_BYTES_MAX))
    );
  }

  /** Ends the watch with an error after the queued events. */
  endAfterQueue(error: KvError): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.finalError = error;
    this.finish();
  }

  /** Ends the watch at once and drops the queued events. `makeError` gets the revision to resume from. */
  end(makeError: ((resumeFrom: bigint | undefined) => KvError) | undefined): void {
    if (this.isEnded) {
      this.queue.clear();
      return;
    }
    this.isEnded = true;
    this.finalError = makeError?.(this.resumeFrom(this.position + 1));
    this.queue.clear();
    this.finish();
  }

  /** Ends the watch at once: its client reads too slowly. */
  endAsSlow(): void {
    const resumeFrom = this.resumeFrom(this.position + 1);
    this.wasSlow = true;
    this.end(() => slowWatcher(this.settings.bucket, resumeFrom));
  }

  /** The revision of the first change that was not read, or else `next`. */
  private resumeFrom(next: number): bigint {
    return this.queue.firstRevision() ?? BigInt(next);
  }

  /** The event with the number of revisions omitted before it. A copy: watchers share the original. */
  private withOmitted<Event extends WatchEvent>(event: Event): Event {
    if (this.omitted === 0) return event;
    const superseded = this.omitted;
    this.omitted = 0;
    return { ...event, superseded };
  }

  private withPrevious(event: ChangeEvent, previous: Entry): ChangeEvent {
    return { ...event, previous: this.settings.keysOnly ? withoutValue(previous) : previous };
  }

  private push(event: WatchEvent): void {
    const read = this.queue.length === 0 ? this.pendingReads.shift() : undefined;
    if (read === undefined) this.queue.push(event);
    else read.resolve({ done: false, value: event });
  }

  private pushWithPrevious(event: ChangeEvent, lookup: Promise<Entry | undefined>): void {
    const queued = this.queue.pushPending(event);
    void lookup.then((previous) => {
      this.queue.settle(queued, previous === undefined ? event : this.withPrevious(event, previous));
      this.serveReads();
    });
  }

  private shift(): WatchEvent | undefined {
    const event = this.queue.shift();
    if (event !== undefined && this.capacityWaiter !== undefined && this.hasCapacity())
      this.wakeCapacityWaiter();
    return event;
  }

  private serveReads(): void {
    while (this.pendingReads.length > 0) {
      const event = this.shift();
      if (event === undefined) break;
      this.pendingReads.shift()?.resolve({ done: false, value: event });
    }
    if (this.isEnded) this.endReads();
  }

  private finish(): void {
    this.wakeCapacityWaiter();
    this.endReads();
    this.settings.onEnd(this);
  }

  /** Settles pending reads of a watch that has ended: the first one with the error. */
  private endReads(): void {
    if (this.queue.length > 0) return;
    for (const read of this.pendingReads.splice(0)) {
      const error = this.takeFinalError();
      if (error === undefined) read.resolve(DONE);
      else read.reject(error);
    }
  }

  private takeFinalError(): KvError | undefined {
    const error = this.finalError;
    this.finalError = undefined;
    return error;
  }

  private wakeCapacityWaiter(): void {
    const wake = this.capacityWaiter;
    this.capacityWaiter = undefined;
    wake?.();
  }
}

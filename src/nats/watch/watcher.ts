/** One watch as its reader sees it: an iterator over a bounded queue. Written by hand: ten thousand of these may be open. */
import type { KvError } from "../../kv/errors.js";
import type { Filter } from "../../kv/filter.js";
import type { Entry, Watch, WatchEvent } from "../../kv/store.js";
import { notEveryChange, slowWatcher } from "./endings.js";
import { type Change, withoutValue } from "../read/delivery.js";

/** What a watcher wants, and how much may wait for it. */
export interface WatcherSettings {
  readonly bucket: string;
  readonly filters: readonly Filter[];
  readonly ignoreDeletes: boolean;
  readonly keysOnly: boolean;
  /** Finds the entry that a change replaced, where it is wanted; undefined where it can't be found. */
  readonly previousOf: ((change: Change) => Entry | undefined | Promise<Entry | undefined>) | undefined;
  /** Whether the watch ends rather than pass over a revision. */
  readonly everyChange: boolean;
  readonly queueEventsMax: number;
  readonly queueBytesMax: number;
  /** The position before the first event: every change up to here is not for this watcher, or known to its reader. */
  readonly position: number;
  /** Told once when the watch is over, however it ended. */
  readonly onEnd: (watcher: Watcher) => void;
}

/** An event in the queue. `waiting`: the entry that it replaced is still looked up, so that it and what follows have to wait. */
interface Queued {
  event: WatchEvent;
  readonly bytes: number;
  waiting: boolean;
}

type ChangeEvent = WatchEvent & { type: "change" };

type Reader = { resolve(result: IteratorResult<WatchEvent>): void; reject(error: unknown): void };

const DONE: IteratorResult<WatchEvent> = { done: true, value: undefined };

/** The part of the queue that may be in use when more is read for a watcher that is catching up: the other half takes what is read. */
const ROOM_FRACTION = 0.5;

export class Watcher implements Watch {
  /** Every matching change up to this revision is in the queue, or was. */
  position: number;
  isCatchingUp = false;
  /** Whether it was ended for not being read fast enough. */
  wasSlow = false;
  private queue: (WatchEvent | Queued | undefined)[] | undefined;
  private head = 0;
  private bytes = 0;
  private readers: Reader[] = [];
  private roomWaiter: (() => void) | undefined;
  /** Revisions that were passed over since the last event. */
  private passedOver = 0;
  private isEnded = false;
  /** Thrown when the queue is empty. */
  private lastWord: KvError | undefined;

  constructor(private readonly settings: WatcherSettings) {
    this.position = settings.position;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get filters(): readonly Filter[] {
    return this.settings.filters;
  }
  /** Whether the watch is over: nothing more is put in. */
  get isOver(): boolean {
    return this.isEnded;
  }
  get queuedEvents(): number {
    return this.queue === undefined ? 0 : this.queue.length - this.head;
  }
  get queuedBytes(): number {
    return this.bytes;
  }

  next(): Promise<IteratorResult<WatchEvent>> {
    const event = this.poll();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.queuedEvents === 0 && this.isEnded) {
      const error = this.takeLastWord();
      return error === undefined ? Promise.resolve(DONE) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => this.readers.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<WatchEvent>> {
    this.end(undefined);
    this.lastWord = undefined;
    return Promise.resolve(DONE);
  }

  poll(): WatchEvent | undefined {
    return this.readers.length === 0 ? this.shift() : undefined;
  }

  /**
   * A change, in the order of revisions; those at or before the position were seen. Readers wait for room, so that the bounds hold
   * without ending the watch. What a snapshot shows replaced nothing.
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
      this.queuedEvents >= this.settings.queueEventsMax ||
      (this.bytes + bytes > this.settings.queueBytesMax && this.queuedEvents > 0);
    if (isFull && from === "feed") {
      this.endSlow(change.revision);
      return;
    }
    this.position = change.revision;
    const { previousOf } = this.settings;
    const previous = from === "snapshot" ? undefined : previousOf?.(change);
    if (previous === undefined) this.push(this.counted(event), bytes);
    else if (previous instanceof Promise) this.pushWithPrevious(this.counted(event), bytes, previous);
    else this.push(this.counted(this.withPrevious(event, previous)), bytes);
  }

  /** The revisions from one to another are gone, whatever their keys were: the next event says how many. */
  passOver(from: number, through: number): void {
    const first = Math.max(from, this.position + 1);
    if (through < first) return;
    this.position = through;
    this.countPassedOver(first, through, through - first + 1);
  }

  /** The same of a range in which `count` of them may be gone, the position being past it. */
  countPassedOver(from: number, through: number, count: number): void {
    if (this.isEnded || count === 0) return;
    this.passedOver += count;
    if (this.settings.everyChange)
      this.endAfterQueue(notEveryChange(this.settings.bucket, from, through, count));
  }

  /** Nothing up to this revision is missing: moves the position without an event. */
  advance(position: number): void {
    if (position > this.position) this.position = position;
  }

  /** Puts in a mark. A progress mark replaces one that still waits, so that these never fill the queue. */
  mark(event: WatchEvent): void {
    if (this.isEnded) return;
    const last = this.queuedEvents > 0 ? this.queue?.at(-1) : undefined;
    if (event.type === "progress" && last !== undefined && this.queue !== undefined) {
      const replaced = eventOf(last);
      if (replaced.type === "progress") {
        this.passedOver += replaced.superseded ?? 0;
        this.queue[this.queue.length - 1] = this.counted(event);
        return;
      }
    }
    this.push(this.counted(event), 0);
  }

  /** Resolves when there is room for what a catch-up reads next, or the watch is over. */
  async room(): Promise<void> {
    while (!this.isEnded && !this.hasRoom()) {
      await new Promise<void>((resolve) => (this.roomWaiter = resolve));
    }
  }

  hasRoom(): boolean {
    return (
      this.queuedEvents <= this.settings.queueEventsMax * ROOM_FRACTION &&
      this.bytes <= this.settings.queueBytesMax * ROOM_FRACTION
    );
  }

  /** Ends the watch when what waits has been read: with the error, as the last word. */
  endAfterQueue(error: KvError): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.lastWord = error;
    this.finish();
  }

  /** Ends the watch at once and frees what waits. `makeError` gets the revision to resume from. */
  end(makeError: ((resumeFrom: bigint | undefined) => KvError) | undefined): void {
    if (this.isEnded) {
      this.drop();
      return;
    }
    this.isEnded = true;
    this.lastWord = makeError?.(this.resumeFrom(this.position + 1));
    this.drop();
    this.finish();
  }

  private endSlow(revision: number): void {
    const resumeFrom = this.resumeFrom(revision);
    this.wasSlow = true;
    this.end(() => slowWatcher(this.settings.bucket, resumeFrom));
  }

  /** The first change that was not handed out, or else `next`. */
  private resumeFrom(next: number): bigint {
    const { queue } = this;
    for (let index = this.head; queue !== undefined && index < queue.length; index++) {
      const queued = queue[index];
      const event = queued === undefined ? undefined : eventOf(queued);
      if (event?.type === "change") return event.entry.revision;
    }
    return BigInt(next);
  }

  /** The event, with the number of revisions that were passed over before it. Others share the event that comes in. */
  private counted<Event extends WatchEvent>(event: Event): Event {
    if (this.passedOver === 0) return event;
    const superseded = this.passedOver;
    this.passedOver = 0;
    return { ...event, superseded };
  }

  private withPrevious(event: ChangeEvent, previous: Entry): ChangeEvent {
    return { ...event, previous: this.settings.keysOnly ? withoutValue(previous) : previous };
  }

  private push(event: WatchEvent, bytes: number): void {
    if (this.queuedEvents === 0) {
      const reader = this.readers.shift();
      if (reader !== undefined) {
        reader.resolve({ done: false, value: event });
        return;
      }
    }
    (this.queue ??= []).push(event);
    this.bytes += bytes;
  }

  private pushWithPrevious(event: ChangeEvent, bytes: number, lookup: Promise<Entry | undefined>): void {
    const queued: Queued = { event, bytes, waiting: true };
    (this.queue ??= []).push(queued);
    this.bytes += bytes;
    void lookup.then((previous) => {
      queued.waiting = false;
      if (previous !== undefined) queued.event = this.withPrevious(event, previous);
      this.serveReaders();
    });
  }

  /** Takes the first event out of the queue, where it may go. */
  private shift(): WatchEvent | undefined {
    const { queue } = this;
    const first = queue?.[this.head];
    if (queue === undefined || first === undefined || ("waiting" in first && first.waiting)) return undefined;
    queue[this.head] = undefined;
    this.head++;
    if (this.head === queue.length) {
      this.queue = undefined;
      this.head = 0;
    } else if (this.head >= 256 && this.head * 2 >= queue.length) {
      queue.splice(0, this.head);
      this.head = 0;
    }
    this.bytes -= bytesOf(first);
    if (this.roomWaiter !== undefined && this.hasRoom()) this.wakeRoomWaiter();
    return eventOf(first);
  }

  private serveReaders(): void {
    while (this.readers.length > 0) {
      const event = this.shift();
      if (event === undefined) break;
      this.readers.shift()?.resolve({ done: false, value: event });
    }
    if (this.isEnded) this.tellEnd();
  }

  private finish(): void {
    this.wakeRoomWaiter();
    this.tellEnd();
    this.settings.onEnd(this);
  }

  /** Readers that wait on a watch that is over learn how it ended, the first with the reason. */
  private tellEnd(): void {
    if (this.queuedEvents > 0) return;
    for (const reader of this.readers.splice(0)) {
      const error = this.takeLastWord();
      if (error === undefined) reader.resolve(DONE);
      else reader.reject(error);
    }
  }

  private takeLastWord(): KvError | undefined {
    const error = this.lastWord;
    this.lastWord = undefined;
    return error;
  }

  private drop(): void {
    this.queue = undefined;
    this.head = 0;
    this.bytes = 0;
  }

  private wakeRoomWaiter(): void {
    const wake = this.roomWaiter;
    this.roomWaiter = undefined;
    wake?.();
  }
}

function eventOf(queued: WatchEvent | Queued): WatchEvent {
  return "waiting" in queued ? queued.event : queued;
}

function bytesOf(queued: WatchEvent | Queued): number {
  if ("waiting" in queued) return queued.bytes;
  return queued.type === "change" ? queued.entry.value.length + queued.entry.key.length : 0;
}

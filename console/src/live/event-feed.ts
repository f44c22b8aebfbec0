/** The latest changes of a bucket that match a filter, newest first, and how many arrived in each of the last seconds. */
import type { Entry, WatchResponse_Change } from "@ironflow-kv/client/gen";
import type { KeyValueClient } from "../api/clients.js";
import { BucketWatch, type WatchState } from "./bucket-watch.js";

const EVENTS_KEPT_MAX = 1_000;
export const RATE_SECONDS = 60;

export interface FeedEvent {
  /** Of no other event of the feed; a bucket that is recreated has the same revisions again. */
  readonly id: number;
  readonly entry: Entry;
}

export interface FeedState {
  readonly version: number;
  readonly watch: WatchState;
  readonly isPaused: boolean;
  /** Events that arrived while paused. */
  readonly waiting: number;
  /** Events that were missed: the watch could not resume. */
  readonly hasGap: boolean;
}

export class EventFeed {
  readonly events: FeedEvent[] = [];
  /** Oldest second first. */
  readonly rates = new Array<number>(RATE_SECONDS).fill(0);
  state: FeedState = {
    version: 0,
    watch: { kind: "connecting" },
    isPaused: false,
    waiting: 0,
    hasGap: false,
  };
  private held: FeedEvent[] = [];
  private lastId = 0;
  private watch: BucketWatch | undefined;
  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly keyValue: KeyValueClient,
    private readonly bucket: string,
    private readonly filter: string,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.rates.shift();
      this.rates.push(0);
      this.change({});
    }, 1_000);
    this.watch = new BucketWatch({
      keyValue: this.keyValue,
      bucket: this.bucket,
      filters: this.filter === "" ? [] : [this.filter],
      onState: (watch) => this.change({ watch }),
      onGap: () => this.change({ hasGap: true }),
      onChanges: (changes) => this.add(changes),
    });
  }

  close(): void {
    clearInterval(this.timer);
    this.watch?.close();
    this.listeners.clear();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Starts the watch again after the service refused it. */
  retryWatch(): void {
    this.watch?.retry();
  }

  setPaused(isPaused: boolean): void {
    if (!isPaused) this.show(this.held.splice(0));
    this.change({ isPaused, waiting: 0 });
  }

  clear(): void {
    this.events.length = 0;
    this.change({ hasGap: false });
  }

  private add(changes: readonly WatchResponse_Change[]): void {
    const events = changes.flatMap(({ entry }) =>
      entry === undefined ? [] : [{ id: ++this.lastId, entry }],
    );
    this.rates[RATE_SECONDS - 1] = (this.rates[RATE_SECONDS - 1] ?? 0) + events.length;
    if (this.state.isPaused) {
      this.held = [...this.held, ...events].slice(-EVENTS_KEPT_MAX);
      this.change({ waiting: this.state.waiting + events.length });
      return;
    }
    this.show(events);
    this.change({});
  }

  private show(events: readonly FeedEvent[]): void {
    this.events.unshift(...events.slice(-EVENTS_KEPT_MAX).reverse());
    this.events.length = Math.min(this.events.length, EVENTS_KEPT_MAX);
  }

  private change(change: Partial<FeedState>): void {
    this.state = { ...this.state, ...change, version: this.state.version + 1 };
    for (const listener of [...this.listeners]) listener();
  }
}

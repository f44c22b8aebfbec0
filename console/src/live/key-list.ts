/**
 * The keys of a bucket that match a filter, in order: loaded page by page, kept current by a watch.
 *
 * A page is exact at the revision that its response names. The watch begins after the revision of the first page; changes that arrive while a
 * later page is on its way are applied to that page, too.
 */
import { ConnectError } from "@connectrpc/connect";
import { Operation, type WatchResponse_Change } from "@ironflow-kv/client/gen";
import { keyValue } from "../api/clients.js";
import { BucketWatch, type WatchState } from "./bucket-watch.js";
import type { KeyFilter } from "./key-filter.js";
import { compareKeys, lowerBound } from "./key-order.js";

const FIRST_PAGE_KEYS = 1_000;
const PAGE_KEYS = 10_000;
/** How long a change is marked, and a deleted key stays visible. */
const MARKED_MS = 1_500;

export interface Mark {
  readonly operation: Operation;
  readonly untilMs: number;
}

export interface KeyListState {
  readonly version: number;
  readonly isLoading: boolean;
  readonly isComplete: boolean;
  readonly error: ConnectError | undefined;
  readonly watch: WatchState;
  /** Paused: changes are counted, and applied on resume. */
  readonly isPaused: boolean;
  readonly waiting: number;
}

type Listener = () => void;

export class KeyList {
  readonly keys: string[] = [];
  readonly marks = new Map<string, Mark>();
  state: KeyListState = {
    version: 0,
    isLoading: true,
    isComplete: false,
    error: undefined,
    watch: { kind: "connecting" },
    isPaused: false,
    waiting: 0,
  };
  private pageToken = "";
  private loading: Promise<void> | undefined;
  private readonly abort = new AbortController();
  private watch: BucketWatch | undefined;
  private sweepTimer: ReturnType<typeof setTimeout> | undefined;
  /** Changes since the request for the page that is being loaded. */
  private arrived: WatchResponse_Change[] = [];
  private held: WatchResponse_Change[] = [];
  private readonly listeners = new Set<Listener>();

  constructor(
    private readonly bucket: string,
    private readonly filter: KeyFilter,
    /** Called with each batch of changes of the bucket, whether they match the filter or not. */
    private readonly onChanges: (changes: readonly WatchResponse_Change[]) => void = () => undefined,
  ) {}

  start(): void {
    void this.loadMore();
  }

  close(): void {
    this.abort.abort();
    this.watch?.close();
    clearTimeout(this.sweepTimer);
  }

  subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Loads the next page, unless all keys are loaded. */
  loadMore(): Promise<void> {
    if (this.state.isComplete) return Promise.resolve();
    return (this.loading ??= this.loadPage().finally(() => (this.loading = undefined)));
  }

  async loadAll(): Promise<void> {
    while (!this.state.isComplete && this.state.error === undefined && !this.abort.signal.aborted)
      await this.loadMore();
  }

  setPaused(isPaused: boolean): void {
    this.change({ isPaused, waiting: 0 });
    const held = this.held.splice(0);
    if (!isPaused && held.length > 0) this.apply(held);
  }

  private async loadPage(): Promise<void> {
    const isFirst = this.pageToken === "";
    this.arrived = [];
    this.change({ isLoading: true, error: undefined });
    try {
      const page = await keyValue.listKeys(
        {
          bucket: this.bucket,
          filters: [...this.filter.filters],
          limit: isFirst ? FIRST_PAGE_KEYS : PAGE_KEYS,
          pageToken: this.pageToken,
        },
        { signal: this.abort.signal },
      );
      for (const key of page.keys) this.keys.push(key);
      this.pageToken = page.nextPageToken;
      this.state = { ...this.state, isLoading: false, isComplete: page.nextPageToken === "" };
      const missed = this.arrived.filter(({ entry }) => (entry?.revision ?? 0n) > page.revision);
      this.arrived = [];
      this.apply(missed);
      if (isFirst) this.follow(page.revision + 1n);
    } catch (error) {
      if (!this.abort.signal.aborted) this.change({ isLoading: false, error: ConnectError.from(error) });
    }
  }

  private follow(startRevision: bigint): void {
    this.watch ??= new BucketWatch({
      bucket: this.bucket,
      keysOnly: true,
      startRevision,
      onState: (watch) => this.change({ watch }),
      onGap: () => this.reload(),
      onChanges: (changes) => {
        this.onChanges(changes);
        if (this.loading !== undefined) this.arrived.push(...changes);
        if (this.state.isPaused) {
          this.held.push(...changes);
          this.change({ waiting: this.state.waiting + changes.length });
        } else this.apply(changes);
      },
    });
  }

  /** Starts again from the first page. */
  reload(): void {
    this.watch?.close();
    this.watch = undefined;
    this.keys.length = 0;
    this.pageToken = "";
    this.change({ isComplete: false });
    void this.loadMore();
  }

  private apply(changes: readonly WatchResponse_Change[]): void {
    const untilMs = Date.now() + MARKED_MS;
    for (const { entry } of changes) {
      if (entry === undefined || !this.filter.matches(entry.key) || !this.covers(entry.key)) continue;
      const index = lowerBound(this.keys, entry.key);
      const isListed = this.keys[index] === entry.key;
      if (entry.operation === Operation.PUT && !isListed) this.keys.splice(index, 0, entry.key);
      if (entry.operation === Operation.PUT || isListed)
        this.marks.set(entry.key, { operation: entry.operation, untilMs });
    }
    if (this.marks.size > 0) this.sweepTimer ??= setTimeout(() => this.sweep(), MARKED_MS);
    this.change({});
  }

  /** Whether the key belongs to the part of the list that is loaded. */
  private covers(key: string): boolean {
    const last = this.keys.at(-1);
    return this.state.isComplete || (last !== undefined && compareKeys(key, last) <= 0);
  }

  /** Ends marks, and removes the keys that were deleted. */
  private sweep(): void {
    this.sweepTimer = undefined;
    const nowMs = Date.now();
    let nextMs = Infinity;
    for (const [key, { operation, untilMs }] of this.marks) {
      if (untilMs > nowMs) {
        nextMs = Math.min(nextMs, untilMs - nowMs);
        continue;
      }
      this.marks.delete(key);
      if (operation === Operation.PUT) continue;
      const index = lowerBound(this.keys, key);
      if (this.keys[index] === key) this.keys.splice(index, 1);
    }
    if (nextMs < Infinity) this.sweepTimer = setTimeout(() => this.sweep(), nextMs);
    this.change({});
  }

  private change(change: Partial<KeyListState>): void {
    if (this.abort.signal.aborted) return;
    this.state = { ...this.state, ...change, version: this.state.version + 1 };
    for (const listener of [...this.listeners]) listener();
  }
}

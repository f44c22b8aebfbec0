/** What a list and a tree of keys share: a watch that keeps them current, changes that are marked for a moment, and a pause. */
import type { ConnectError } from "@connectrpc/connect";
import { Operation, type WatchResponse_Change } from "@ironflow-kv/client/gen";
import type { KeyValueClient } from "../api/clients.js";
import { isFinal } from "../api/errors.js";
import { BucketWatch, type WatchState } from "./bucket-watch.js";
import { onSignIn } from "../api/session.js";
import type { KeyFilter } from "./key-filter.js";

/** How long a change is marked, and a deleted key stays visible. */
const MARKED_MS = 1_500;

/** How long to wait before a page is read again that could not be read now. */
const RETRY_MS = 1_000;

export interface Mark {
  readonly operation: Operation;
  readonly untilMs: number;
}

export interface LiveKeysState {
  readonly version: number;
  readonly isLoading: boolean;
  readonly isComplete: boolean;
  readonly error: ConnectError | undefined;
  readonly watch: WatchState;
  /** Paused: changes are counted, and applied on resume. */
  readonly isPaused: boolean;
  readonly waiting: number;
}

export interface LiveKeysOptions {
  readonly keyValue: KeyValueClient;
  readonly bucket: string;
  readonly filter: KeyFilter;
  /** Called with each batch of changes of the bucket, whether they match the filter or not. */
  readonly onChanges: (changes: readonly WatchResponse_Change[]) => void;
  /** Called when changes were missed. */
  readonly onGap: () => void;
}

export abstract class LiveKeys {
  readonly marks = new Map<string, Mark>();
  state: LiveKeysState = {
    version: 0,
    isLoading: true,
    isComplete: false,
    error: undefined,
    watch: { kind: "connecting" },
    isPaused: false,
    waiting: 0,
  };
  protected readonly abort = new AbortController();
  private watch: BucketWatch | undefined;
  private sweepTimer: ReturnType<typeof setTimeout> | undefined;
  private held: WatchResponse_Change[] = [];
  private readonly listeners = new Set<() => void>();
  private readonly stopListening = onSignIn(() => this.retry());

  constructor(protected readonly options: LiveKeysOptions) {}

  /** Loads what is shown first. */
  abstract start(): void;
  /** Called with changes as they arrive, also while paused. */
  protected abstract onArrival(changes: readonly WatchResponse_Change[]): void;
  protected abstract put(key: string, revision: bigint): void;
  protected abstract remove(key: string): void;
  protected abstract has(key: string): boolean;
  /** Whether the key belongs to what is loaded. */
  protected abstract covers(key: string): boolean;
  /** Changes were missed: loads everything again. */
  protected abstract restart(): void;

  close(): void {
    this.abort.abort();
    this.stopListening();
    this.watch?.close();
    clearTimeout(this.sweepTimer);
  }

  /** Reads until it succeeds, or fails for good. */
  protected async read<Result>(call: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (this.isClosed() || isFinal(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        if (this.isClosed()) throw error;
      }
    }
  }

  /** Loads everything again if the service refused to list the keys. */
  retry(): void {
    if (this.state.error !== undefined) this.restart();
  }

  protected isClosed(): boolean {
    return this.abort.signal.aborted;
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
    this.change({ isPaused, waiting: 0 });
    const held = this.held.splice(0);
    if (!isPaused && held.length > 0) this.apply(held);
  }

  protected follow(startRevision: bigint): void {
    const { keyValue, bucket, onChanges, onGap } = this.options;
    this.watch ??= new BucketWatch({
      keyValue,
      bucket,
      keysOnly: true,
      startRevision,
      onState: (watch) => this.change({ watch }),
      onGap: () => {
        this.watch?.close();
        this.watch = undefined;
        onGap();
        this.restart();
      },
      onChanges: (changes) => {
        onChanges(changes);
        this.onArrival(changes);
        if (this.state.isPaused) {
          this.held.push(...changes);
          this.change({ waiting: this.state.waiting + changes.length });
        } else this.apply(changes);
      },
    });
  }

  protected apply(changes: readonly WatchResponse_Change[]): void {
    const untilMs = Date.now() + MARKED_MS;
    for (const { entry } of changes) {
      if (entry === undefined || !this.options.filter.matches(entry.key) || !this.covers(entry.key)) continue;
      const isPut = entry.operation === Operation.PUT;
      if (isPut) this.put(entry.key, entry.revision);
      if (isPut || this.has(entry.key)) this.marks.set(entry.key, { operation: entry.operation, untilMs });
    }
    if (this.marks.size > 0) this.sweepTimer ??= setTimeout(() => this.sweep(), MARKED_MS);
    this.change({});
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
      if (operation !== Operation.PUT) this.remove(key);
    }
    if (nextMs < Infinity) this.sweepTimer = setTimeout(() => this.sweep(), nextMs);
    this.change({});
  }

  protected change(change: Partial<LiveKeysState>): void {
    if (this.isClosed()) return;
    this.state = { ...this.state, ...change, version: this.state.version + 1 };
    for (const listener of [...this.listeners]) listener();
  }
}

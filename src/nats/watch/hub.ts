/** The watches of one bucket in this process: they share one live feed. A watch that starts before now has a catch-up. */
import type { KvError } from "../../kv/errors.js";
import { type Filter, matchesAny } from "../../kv/filter.js";
import type { CallContext } from "../../kv/call-context.js";
import type { WatchOptions } from "../../kv/watch.js";
import { bucketNotFound } from "../client/errors.js";
import { within } from "../client/jetstream-api.js";
import type { FeedEnd, Following, LostRevisions } from "../feed/bucket-feed.js";
import { delayed } from "../feed/delay.js";
import { sharedContext, type StreamState } from "../read/stream-api.js";
import { CatchUp } from "./catch-up.js";
import { type LiveChanges, planOf } from "./catch-up-plan.js";
import type { Change } from "../read/delivery.js";
import { canceled, compacted, inFuture, recreated, rolledBack, shuttingDown } from "./endings.js";
import { FilterIndex } from "./filter-index.js";
import type { HubOptions, HubStats } from "./hub-options.js";
import { inTime } from "./in-time.js";
import { PreviousEntries } from "./previous.js";
import { Source } from "./source.js";
import { Watcher } from "./watcher.js";

/** How long a hub without watchers stays open. */
const LINGER_MS = 500;
/** How long a catch-up waits at once for the feed, and until it waits again where the feed does not answer. */
const FEED_WAIT_MS = 1_000;
const FEED_RETRY_MS = 20;

/** Thrown by `open` if the hub belongs to an earlier bucket with the same name: retry with a new hub. */
export class HubOutdated extends Error {}

export class Hub implements LiveChanges {
  /** Watches that have ended because they were read too slowly. */
  slowWatchers = 0;
  private readonly source: Source;
  private feed: Following | undefined;
  private readonly index = new FilterIndex<Watcher>();
  private readonly watchers = new Set<Watcher>();
  private readonly catchUps = new Map<Watcher, CatchUp>();
  private readonly previous: PreviousEntries;
  private readonly started: Promise<void>;
  private opening = 0;
  private linger: NodeJS.Timeout | undefined;
  private isOver = false;

  constructor(private readonly options: HubOptions) {
    const { api, subjectPrefix, limits, isClustered, readerPermits, keySnapshots } = options;
    this.source = new Source(api, subjectPrefix, limits, isClustered, readerPermits, keySnapshots);
    this.previous = new PreviousEntries(api, subjectPrefix, (revision) => this.feed?.remembered(revision));
    this.started = this.follow();
    this.started.catch(() => undefined);
  }

  get bucket(): string {
    return this.options.api.bucket;
  }
  get position(): number {
    return this.feed?.position ?? 0;
  }

  /** Starts a watch. `onEnd` is called once when it ends. Throws as `Store.watch` does. */
  async open(
    filters: readonly Filter[],
    options: WatchOptions,
    context: CallContext,
    onEnd: () => void,
  ): Promise<Watcher> {
    this.opening++;
    clearTimeout(this.linger);
    try {
      await inTime(this.start(), context, this.bucket);
      const state = await inTime(this.source.state(context), context, this.bucket);
      this.checkCurrent();
      if (state.created !== this.feed?.origin.created) {
        this.endAll(bucketNotFound(this.bucket));
        throw new HubOutdated();
      }
      const position = await inTime(this.positionBefore(options.start, state), context, this.bucket);
      this.checkCurrent();
      if (context.signal.aborted) throw canceled(this.bucket);
      return this.begin(filters, options, context, onEnd, state, position);
    } finally {
      this.opening--;
      this.lingerIfIdle();
    }
  }

  remembers(revision: number): boolean {
    return this.feed?.remembers(revision) === true;
  }

  replay(watcher: Watcher): boolean {
    const isComplete = this.feed?.replay(watcher.position, {
      change: (change) => {
        const isVisible = !change.repeatsDelete && matchesAny(watcher.filters, change.storedKey);
        if (isVisible) watcher.offer(change, "reader");
        else watcher.advance(change.revision);
        return watcher.hasCapacity();
      },
      lost: ({ from, through }) => watcher.omit(from, through),
    });
    return isComplete === true;
  }

  async appliedThrough(revision: number): Promise<void> {
    const context = within(sharedContext(), FEED_WAIT_MS);
    await this.feed?.appliedThrough(revision, context).catch(() => delayed(FEED_RETRY_MS).over);
  }

  goLive(watcher: Watcher): boolean {
    if (watcher.isOver) return true;
    if (!this.replay(watcher)) return false;
    watcher.advance(this.position);
    this.catchUps.delete(watcher);
    this.index.add(watcher.filters, watcher);
    return true;
  }

  /** Ends every watch after its queued events, and the hub. */
  endAll(error: KvError): void {
    this.stop();
    for (const watcher of [...this.watchers]) watcher.endAfterQueue(error);
  }

  /** Ends every watch at once with `shutting_down` and the revision to resume from, and the hub. */
  async close(): Promise<void> {
    this.stop();
    for (const watcher of [...this.watchers]) {
      watcher.end((resumeFrom) => shuttingDown(this.bucket, resumeFrom));
    }
    await this.settled();
  }

  /** Resolves when the hub has no consumer on the server. */
  settled(): Promise<void> {
    return this.options.api.settled();
  }

  stats(): HubStats {
    let queuedEvents = 0;
    let queuedBytes = 0;
    for (const watcher of this.watchers) {
      queuedEvents += watcher.queuedEvents;
      queuedBytes += watcher.queuedBytes;
    }
    return {
      bucket: this.bucket,
      watchers: this.watchers.size,
      catchingUp: this.catchUps.size,
      queuedEvents,
      queuedBytes,
      ...(this.feed?.stats() ?? { lagEvents: 0, silenceMs: 0, restarts: 0, recentBytes: 0 }),
    };
  }

  private checkCurrent(): void {
    if (this.isOver) throw new HubOutdated();
  }

  private async start(): Promise<void> {
    try {
      await this.started;
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  private async follow(): Promise<void> {
    const { api, feeds } = this.options;
    const following = await feeds.follow(api.bucket, {
      change: (change) => this.publish(change),
      lost: (lost) => this.omit(lost),
      ended: (end) => this.feedEnded(end),
    });
    if (this.isOver) following.stop();
    else this.feed = following;
  }

  private feedEnded(end: FeedEnd): void {
    if (end.kind === "closed") void this.close();
    else if (end.kind === "failed") this.endAll(end.error);
    else if (end.kind === "deleted") this.endAll(bucketNotFound(this.bucket));
    else this.endAll(rolledBack(this.bucket, end.lastSequence));
  }

  private async positionBefore(start: WatchOptions["start"], state: StreamState): Promise<number> {
    if (start === "now") return Math.max(state.lastSequence, this.position);
    if (start === "snapshot" || start === "history") return 0;
    const { bucketCreatedAtMs } = start;
    if (bucketCreatedAtMs !== undefined && bucketCreatedAtMs !== state.createdAtMs) {
      throw recreated(this.bucket, state.lastSequence);
    }
    if (start.revision > BigInt(state.lastSequence) + 1n) {
      throw inFuture(this.bucket, start.revision, state.lastSequence);
    }
    const next = Number(start.revision);
    if (this.remembers(next - 1)) return next - 1;
    await this.source.checkUsable(next, state);
    // Many watches may resume from about here, for example after a restart: read the changes once for all of them.
    await this.feed?.recall(next - 1);
    return next - 1;
  }

  private begin(
    filters: readonly Filter[],
    options: WatchOptions,
    context: CallContext,
    onEnd: () => void,
    state: StreamState,
    position: number,
  ): Watcher {
    const { limits, ticker, queueMemory } = this.options;
    const { signal } = context;
    const abort = (): void => watcher.end(() => canceled(this.bucket));
    const progress =
      options.progressIntervalMs === undefined ? undefined : { mark: () => this.mark(watcher) };
    const watcher = new Watcher({
      bucket: this.bucket,
      filters,
      ignoreDeletes: options.ignoreDeletes ?? false,
      keysOnly: options.keysOnly ?? false,
      previousOf: options.previous === true ? (change) => this.previous.of(change, state.history) : undefined,
      everyChange: options.everyChange ?? false,
      queueEventsMax: limits.watchQueueEventsMax,
      queueBytesMax: limits.watchQueueBytesMax,
      memory: queueMemory,
      position,
      onEnd: () => {
        signal.removeEventListener("abort", abort);
        if (progress !== undefined) ticker.remove(progress);
        this.forget(watcher);
        onEnd();
      },
    });
    signal.addEventListener("abort", abort);
    this.watchers.add(watcher);
    if (progress !== undefined) ticker.add(progress, options.progressIntervalMs ?? 0);
    if (options.start !== "now") this.catchUp(watcher, options.start, state);
    else if (this.goLive(watcher)) progress?.mark();
    return watcher;
  }

  private catchUp(watcher: Watcher, start: WatchOptions["start"], state: StreamState): void {
    const catchUp = new CatchUp(this, this.source, watcher, planOf(start, state));
    if (catchUp.tryFromMemory()) return;
    this.catchUps.set(watcher, catchUp);
    void catchUp.run().finally(() => this.catchUps.delete(watcher));
  }

  private publish(change: Change): void {
    if (change.repeatsDelete) return;
    this.index.visit(change.storedKey, (watcher) => watcher.offer(change));
  }

  private mark(watcher: Watcher): void {
    if (!this.catchUps.has(watcher)) watcher.advance(this.position);
    watcher.mark({ type: "progress", revision: BigInt(watcher.position), timeMs: Date.now() });
  }

  private omit({ from, through, isSuperseded }: LostRevisions): void {
    for (const watcher of [...this.watchers]) {
      if (this.catchUps.has(watcher) || watcher.position >= through) continue;
      if (isSuperseded) watcher.omit(from, through);
      else watcher.endAfterQueue(compacted(this.bucket, through + 1));
    }
  }

  private forget(watcher: Watcher): void {
    this.watchers.delete(watcher);
    this.index.remove(watcher.filters, watcher);
    this.catchUps.get(watcher)?.stop();
    if (watcher.wasSlow) this.slowWatchers++;
    this.lingerIfIdle();
  }

  private lingerIfIdle(): void {
    clearTimeout(this.linger);
    if (this.isOver || this.watchers.size > 0 || this.opening > 0) return;
    this.linger = setTimeout(() => this.stop(), LINGER_MS);
    this.linger.unref();
  }

  private stop(): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.linger);
    this.previous.stop();
    this.feed?.stop();
    this.options.onEnd();
  }
}

/**
 * The feed of one bucket: see bucket-feed.ts. It compares the sequences that its source brings. Whatever may be missing (a gap, a connection
 * that came back, a check that shows more than what arrived) is read from the stream; meanwhile what arrives waits.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import { unavailable } from "../client/errors.js";
import type { Change } from "../read/delivery.js";
import type { StreamState } from "../read/stream-api.js";
import type { FeedEnd, FeedFollower, FeedStats, Following } from "./bucket-feed.js";
import { type Delay, delayed } from "./delay.js";
import { FeedPosition } from "./feed-position.js";
import { FeedSource, type FeedSourceOptions } from "./feed-source.js";
import { checkMissed, errorOfEnd, showMissing } from "./missing.js";
import { PendingChanges } from "./pending-changes.js";
import type { RecentChanges } from "./recent-changes.js";
import { Recall } from "./recall.js";
import { type Attempt, retryUntilLive } from "./retries.js";
import type { Semaphore } from "./semaphore.js";

export interface LiveFeedOptions extends Omit<FeedSourceOptions, "onChange" | "onPosition" | "onLost"> {
  readonly isClustered: boolean;
  /** Permits for readers, shared by all feeds. */
  readonly readerPermits: Semaphore;
  /** What the memory of recent changes may take at present. */
  readonly recentBytesMax: () => number;
  /** The last follower is gone. */
  readonly onIdle: () => void;
  /** The feed is over. */
  readonly onOver: () => void;
}

/** How long a message may be on its way after the stream has it. */
const PATIENCE_MS = 50;
/** After as many messages that did not come, without any other, the server is taken not to send republished messages here. */
const SILENCES_MAX = 3;
/** How long a caller that follows waits for a recovery. */
const SETTLE_MS_MAX = 1_000;

export class LiveFeed {
  lastCheckMs = performance.now();
  /** While something is known to be missing. Resolves when it was read. */
  recovery: Promise<void> | undefined;
  readonly at: FeedPosition;
  private readonly source: FeedSource;
  private readonly memory: Recall;
  private readonly pending = new PendingChanges();
  private createdAs: StreamState | undefined;
  private lastSignMs = performance.now();
  private lag = 0;
  private restarts = 0;
  /** Whether what arrives may be shown at once. */
  private isLive = false;
  private checking: Promise<void> | undefined;
  private silences = 0;
  /** Grows with each recovery: what belongs to an earlier one is over. */
  private attempt = 0;
  private pause: Delay | undefined;
  private end: FeedEnd | undefined;

  constructor(private readonly options: LiveFeedOptions) {
    const { api } = options;
    this.source = new FeedSource({
      ...options,
      onChange: (change) => this.receive(change),
      onPosition: (sequence) => this.at.passOver(sequence),
      onLost: (why) => this.recover(why),
    });
    this.at = new FeedPosition({
      bucket: api.bucket,
      subjectPrefix: options.subjectPrefix,
      recentBytesMax: options.recentBytesMax,
      patienceMs: PATIENCE_MS,
      onFault: (follower, error) => follower.ended({ kind: "failed", error: faultOf(api.bucket, error) }),
      onIdle: options.onIdle,
      onOverdue: () => this.receiveOverdue(),
    });
    this.memory = new Recall(options, this.at.recent, () => this.isLive);
  }

  get position(): number {
    return this.at.sequence;
  }
  get recent(): RecentChanges {
    return this.at.recent;
  }
  get isFollowed(): boolean {
    return this.at.followers.size > 0;
  }
  /** The stream as it was when the feed began. Only after `start()`. */
  get origin(): StreamState {
    if (this.createdAs === undefined) throw new Error("the feed has not started");
    return this.createdAs;
  }

  get isOver(): boolean {
    return this.end !== undefined;
  }

  /** Begins with the next message. Throws what the storage says; the feed is then over. */
  async start(): Promise<void> {
    const { api } = this.options;
    const { attempt } = this;
    try {
      let state = await api.state();
      const isSubscribed = await this.source.subscribe(state);
      // Subscribed before it is asked how far the stream is: nothing falls between the two.
      if (isSubscribed) state = await api.state();
      this.createdAs = state;
      this.at.begin(state);
      if (!isSubscribed) await this.consume();
      if (attempt === this.attempt) this.goLive();
      else this.recover("the connection was lost");
    } catch (error) {
      void this.finish({ kind: "closed" });
      throw error instanceof KvError ? error : unavailable({ bucket: api.bucket }, error);
    }
  }

  follow(follower: FeedFollower): Following {
    return this.at.followers.add(follower, this);
  }

  /** Resolves when the feed has come to the sequence. Throws `KvError`. */
  waitFor(sequence: number, context: CallContext): Promise<void> {
    if (this.end !== undefined) return Promise.reject(errorOfEnd(this.end, this.options.api.bucket));
    return this.at.waitFor(sequence, context);
  }

  /** The connection that republished messages come over is gone. What comes when it is back may be of a storage that lost writes. */
  interrupt(): void {
    if (this.source.isConsumer) return;
    this.isLive = false;
    this.attempt++;
  }

  /** It is back: what was sent meanwhile is lost. */
  connectionBack(): void {
    if (this.createdAs !== undefined && !this.source.isConsumer) this.recover("the connection came back");
  }

  /** The same of the connection that consumers deliver over. */
  bulkConnectionBack(): void {
    if (this.createdAs !== undefined && this.source.isConsumer) this.recover("the connection came back");
  }

  /** Compares with the stream's leader. Never throws; what it finds is handled. */
  check(): Promise<void> {
    this.lastCheckMs = performance.now();
    return (this.checking ??= this.compare().finally(() => (this.checking = undefined)));
  }

  /** The same, and waits for what it leads to, for a short time. */
  async settle(): Promise<void> {
    await this.check();
    if (this.recovery !== undefined) await Promise.race([this.recovery, delayed(SETTLE_MS_MAX).over]);
  }

  /** See `Following`. */
  recall(sequence: number): Promise<void> {
    return this.memory.extendTo(sequence);
  }

  stats(): FeedStats {
    const silenceMs = this.source.isConsumer ? this.source.silenceMs() : performance.now() - this.lastSignMs;
    return { lagEvents: this.lag, silenceMs, restarts: this.restarts, recentBytes: this.recent.bytesUsed };
  }

  /** Ends the feed: followers are told. Resolves when nothing is left on the server. */
  async finish(end: FeedEnd): Promise<void> {
    if (this.end === undefined) {
      this.end = end;
      this.attempt++;
      this.isLive = false;
      this.pause?.cancel();
      this.pending.clear();
      this.options.onOver();
      this.at.end(end, errorOfEnd(end, this.options.api.bucket));
    }
    await this.source.close();
    await this.options.api.settled();
  }

  private async consume(): Promise<void> {
    const attempt = this.attempt;
    const after = this.position;
    await this.source.consume(after, () => attempt === this.attempt);
    // Compaction waits for consumers that it sees: this one may have come too late for that.
    const { compactedTo } = await this.options.api.state();
    if (attempt === this.attempt && compactedTo > after) this.at.passOver(compactedTo, false);
  }

  private receive(change: Change): void {
    if (this.end !== undefined) return;
    this.lastSignMs = performance.now();
    this.silences = 0;
    const { revision } = change;
    if (this.source.isConsumer) {
      if (revision <= this.position) return;
      this.at.passOver(revision - 1);
      this.at.apply(change);
    } else if (!this.isLive) this.pending.add(change);
    else if (revision === this.position + 1) this.at.apply(change);
    else if (revision > this.position) {
      this.pending.add(change);
      this.recover("sequences are missing");
    } else if (this.at.contradicts(change)) this.recover("a sequence came again with another message");
  }

  private receiveOverdue(): void {
    if (this.isLive && !this.source.isConsumer) this.recover("a message did not arrive");
  }

  private goLive(): void {
    this.isLive = true;
    this.applyPending();
    if (!this.pending.isSettled) this.recover("sequences are missing");
  }

  private async compare(): Promise<void> {
    if (!this.isLive) return;
    const { attempt, options, position } = this;
    const isOutdated = (): boolean => attempt !== this.attempt;
    try {
      const state = await options.api.state();
      if (isOutdated()) return;
      this.lag = Math.max(0, state.lastSequence - this.position);
      if (state.created !== this.origin.created) void this.finish({ kind: "deleted" });
      else if (this.source.isOutdated(state)) this.recover("the stream republishes elsewhere");
      // What has arrived since may be later than the stream's last message was then.
      else if (state.lastSequence < position) this.recover("the stream is behind");
      else if (this.lag > 0 && !this.source.isConsumer) await this.compareLater(state, isOutdated);
      else this.at.confirm(state);
    } catch (error) {
      if (isOutdated() || !(error instanceof KvError)) return;
      if (error.kind !== "unavailable") this.recover("the bucket can't be found");
    }
  }

  private async compareLater(state: StreamState, isOutdated: () => boolean): Promise<void> {
    await delayed(PATIENCE_MS).over;
    // What arrived while the event loop stood still is read now.
    await nextTurn();
    if (isOutdated()) return;
    if (this.position >= state.lastSequence) {
      this.at.confirm(state);
      return;
    }
    if (++this.silences >= SILENCES_MAX) this.source.giveUpRepublish("no republished message arrives");
    this.recover("a message did not arrive");
  }

  /** Gets what is missing; retries until it succeeds. */
  private recover(why: string): void {
    if (this.end !== undefined) return;
    const attempt = ++this.attempt;
    this.isLive = false;
    this.restarts++;
    this.pause?.cancel();
    const { bucket } = this.options.api;
    const facts = { bucket, why, after: this.position };
    this.options.log.info(facts, "The changes of a bucket may have a gap; it is read again.");
    const recovery = this.catchUp(() => attempt === this.attempt).finally(() => {
      if (this.recovery === recovery) this.recovery = undefined;
    });
    this.recovery = recovery;
  }

  private async catchUp(isCurrent: () => boolean): Promise<void> {
    const { log, api } = this.options;
    const awaySinceMs = this.at.completeAtMs;
    const end = await retryUntilLive({
      attempt: () => this.resume(isCurrent, awaySinceMs),
      isCurrent,
      pause: (timeMs) => (this.pause = delayed(timeMs)).over,
      onError: (err) => log.debug({ bucket: api.bucket, err }, "The changes of a bucket can't be read yet."),
    });
    if (end !== undefined) await this.finish(end);
  }

  /** One attempt to get what is missing. Throws where the storage does not answer. */
  private async resume(isCurrent: () => boolean, awaySinceMs: number): Promise<Attempt> {
    const { options, source, pending, at } = this;
    await source.confirm();
    pending.beginRound();
    const arrived = pending.count;
    let state = await options.api.state();
    if (!isCurrent()) return "outdated";
    if (state.created !== this.origin.created) return { kind: "deleted" };
    if (!source.isOutdated(state)) pending.dropForged(arrived, state.lastSequence);
    else if (await source.subscribe(state)) state = await options.api.state();
    if (!isCurrent()) return "outdated";
    const end = await checkMissed(options.api, at, state, awaySinceMs);
    if (!isCurrent()) return "outdated";
    if (end !== undefined) return end;
    if (source.isConsumer) {
      await this.consume();
    } else {
      this.applyPending();
      await showMissing(options, at, state.lastSequence, isCurrent, (sequence) => pending.upTo(sequence));
      if (!isCurrent()) return "outdated";
      this.applyPending();
      if (!pending.isSettled) return "again";
      at.confirm(state);
    }
    this.isLive = isCurrent();
    return "live";
  }

  private applyPending(): void {
    for (const change of this.pending.takeAfter(this.position)) this.at.apply(change);
  }
}

function faultOf(bucket: string, cause: unknown): KvError {
  return new KvError("internal", "The changes of the bucket could not be handled.", { bucket, cause });
}

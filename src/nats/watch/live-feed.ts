/**
 * Every change of one bucket, as it happens, in order and without a gap: one consumer on the bucket's stream.
 *
 * The consumer keeps nothing: it is made anew, from the message after the last one seen, whenever
 * it may have lost something: a gap in its numbering, no sign of life, a connection that came back. It never starts anywhere else.
 */
import { KvError } from "../../kv/errors.js";
import type { StreamApi, StreamState } from "../read/stream-api.js";
import { type Delay, delayed } from "./delay.js";
import type { Change } from "../read/delivery.js";
import { FeedConsumer, HEARTBEAT_MS } from "./feed-consumer.js";
import type { HubLog } from "./hub-options.js";
import type { IdleWindows } from "./idle-windows.js";
import { missedUpTo } from "./resume-rule.js";
import { type LastSeen, lastSeenOf, lostDelivered } from "./rollback.js";

export interface LiveFeedOptions {
  readonly api: StreamApi;
  /** What the subjects of the bucket begin with. */
  readonly subjectPrefix: string;
  readonly idleWindows: IdleWindows;
  readonly onChange: (change: Change) => void;
  /** The bucket is gone, or was deleted and made again. Nothing follows. */
  readonly onGone: () => void;
  /** Changes before this revision may be lost forever. The feed continues from it. */
  readonly onMissed: (oldestUsable: number) => void;
  /** The storage lost writes that it had delivered; this is its newest revision now. Nothing follows. */
  readonly onRolledBack: (newest: number) => void;
  /** The bucket can't be watched any more. Nothing follows. */
  readonly onFailed: (error: KvError) => void;
  readonly log: HubLog;
}

/** Compaction waits for a consumer that lags for a minute (compaction.ts): after half of that, what is missing has to be found out. */
const STOOD_STILL_MS_MAX = 30_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 500;
/** A bucket is only taken for gone when the storage says so twice, this far apart: a server that has just started may not know better. */
const GONE_CHECK_MS = 200;
/** A stream that is behind what it delivered is still being recovered; after this time, it has lost writes. */
const ROLLED_BACK_MS = 10_000;

export class LiveFeed {
  /** Every change up to this revision was given to `onChange`, or was superseded before it could be. */
  position = 0;
  /** Changes that the server had still to deliver when the last one came. */
  lag = 0;
  /** How often the consumer was taken for lost. */
  restarts = 0;
  private createdAs: StreamState | undefined;
  private last: LastSeen = { sequence: 0, storedAtNanos: 0n, change: undefined };
  private consumer: FeedConsumer | undefined;
  /** When there was last nothing more to deliver. */
  private completeAtMs = 0;
  private lastCheckMs = 0;
  private watchdog: NodeJS.Timeout | undefined;
  /** Grows with each attempt to make the consumer: what belongs to an earlier one is over. */
  private attempt = 0;
  private pause: Delay | undefined;
  private isStopped = false;

  constructor(private readonly options: LiveFeedOptions) {}

  /** The stream as it was when the feed began. Only after `start()`. */
  get origin(): StreamState {
    if (this.createdAs === undefined) throw new Error("the feed has not started");
    return this.createdAs;
  }

  /** Begins with the next change. Throws what the storage says; the feed is then over. */
  async start(): Promise<void> {
    try {
      const state = await this.options.api.state();
      this.createdAs = state;
      this.position = state.lastSequence;
      const { lastSequence: sequence, lastStoredAtNanos: storedAtNanos } = state;
      this.last = { sequence, storedAtNanos, change: undefined };
      this.completeAtMs = performance.now();
      const attempt = ++this.attempt;
      await this.makeConsumer(attempt);
      await this.checkCompacted(attempt, state.lastSequence);
    } catch (error) {
      void this.stop();
      throw error;
    }
    if (this.isStopped) return;
    this.lastCheckMs = performance.now();
    this.watchdog = setInterval(() => this.checkSigns(), HEARTBEAT_MS);
    this.watchdog.unref();
  }

  /** The connection is back: whatever was sent meanwhile is lost. */
  restart(): void {
    if (this.isStopped || this.watchdog === undefined) return;
    void this.recover("the connection came back");
  }

  /** Ends the feed; the consumer is deleted. */
  stop(): Promise<void> {
    this.isStopped = true;
    this.attempt++;
    clearInterval(this.watchdog);
    this.pause?.cancel();
    return this.dropConsumer();
  }

  /** How long the feed has heard nothing, in milliseconds. */
  silenceMs(): number {
    return this.consumer?.silenceMs() ?? 0;
  }

  private async makeConsumer(attempt: number): Promise<void> {
    const { api, subjectPrefix, idleWindows } = this.options;
    const isCurrent = (): boolean => attempt === this.attempt;
    const consumer = await FeedConsumer.open(
      {
        ...{ api, subjectPrefix, idleWindows },
        onChange: (change, pending) => {
          if (isCurrent()) this.receive(change, pending);
        },
        onPosition: (revision) => {
          if (isCurrent()) this.advance(revision);
        },
        onLost: (why) => {
          if (isCurrent()) void this.recover(why);
        },
      },
      this.position,
    );
    if (isCurrent()) this.consumer = consumer;
    else await consumer.close();
  }

  private dropConsumer(): Promise<void> {
    const { consumer } = this;
    this.consumer = undefined;
    return consumer === undefined ? Promise.resolve() : consumer.close();
  }

  private receive(change: Change, pending: number): void {
    if (change.revision <= this.position) return;
    this.position = change.revision;
    this.last = lastSeenOf(change, this.options.subjectPrefix, this.origin.ageMsMax);
    this.lag = pending;
    if (pending === 0) this.completeAtMs = performance.now();
    this.options.onChange(change);
  }

  private advance(revision: number): void {
    this.position = Math.max(this.position, revision);
    if (this.lag === 0) this.completeAtMs = performance.now();
  }

  private checkSigns(): void {
    const nowMs = performance.now();
    // Where this process itself stood still, signs of life may wait to be read.
    const { lastCheckMs } = this;
    const stoodStill = nowMs - lastCheckMs > 2 * HEARTBEAT_MS;
    this.lastCheckMs = nowMs;
    if (nowMs - lastCheckMs > STOOD_STILL_MS_MAX) {
      void this.recover("this process stood still");
      return;
    }
    if (stoodStill || this.consumer?.isSilent() !== true) return;
    void this.recover("no sign of life");
  }

  /** Recreates the consumer; retries until it succeeds. */
  private async recover(why: string): Promise<void> {
    const attempt = ++this.attempt;
    this.restarts++;
    this.pause?.cancel();
    const awaySinceMs = this.completeAtMs;
    const { bucket } = this.options.api;
    this.options.log.info(
      { bucket, why, after: this.position },
      "The watches of a bucket go on with a new consumer.",
    );
    void this.dropConsumer();
    let goneAnswers = 0;
    for (
      let retryMs = RETRY_MS_MIN;
      attempt === this.attempt;
      retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)
    ) {
      try {
        const state = await this.options.api.state();
        if (attempt !== this.attempt) return;
        if (state.created !== this.origin.created) {
          this.options.onGone();
          return;
        }
        goneAnswers = 0;
        await this.checkMissed(state, awaySinceMs);
        if (attempt !== this.attempt) return;
        const after = this.position;
        await this.makeConsumer(attempt);
        await this.checkCompacted(attempt, after);
        return;
      } catch (error) {
        if (attempt !== this.attempt) return;
        void this.dropConsumer();
        if (error instanceof KvError && error.kind === "bucket_not_found") {
          if (++goneAnswers === 2) {
            this.options.onGone();
            return;
          }
          retryMs = GONE_CHECK_MS;
        }
        // Revisions above 2^53: trying again does not help.
        if (error instanceof KvError && error.kind === "unimplemented") {
          this.options.onFailed(error);
          return;
        }
        this.options.log.debug({ bucket, error }, "The watches of a bucket can't go on yet.");
      }
      this.pause = delayed(retryMs);
      await this.pause.over;
    }
  }

  /** Compaction waits for consumers that it sees: this one may have come too late for that. */
  private async checkCompacted(attempt: number, after: number): Promise<void> {
    const { compactedTo } = await this.options.api.state();
    if (attempt !== this.attempt || compactedTo <= after) return;
    this.options.onMissed(compactedTo + 1);
  }

  private async checkMissed(state: StreamState, awaySinceMs: number): Promise<void> {
    const awayMs = performance.now() - awaySinceMs;
    if (state.lastSequence < this.position) {
      if (awayMs < ROLLED_BACK_MS) throw new Error("the stream is behind what was delivered from it");
      this.options.onRolledBack(state.lastSequence);
      return;
    }
    const usable = await missedUpTo(this.options.api, state, this.position + 1, awayMs);
    if (usable !== undefined) {
      this.position = usable - 1;
      this.options.onMissed(usable);
    } else if (await lostDelivered(this.options.api, state, this.last)) {
      this.options.onRolledBack(state.lastSequence);
    }
  }
}

/**
 * Every change of one bucket, as it happens, in order and without a gap: one consumer on the bucket's stream.
 *
 * The consumer delivers to a subject of its own and keeps nothing: it is made anew, from the message after the last one seen, whenever
 * it may have lost something: a gap in its numbering, no sign of life, a connection that came back. It never starts anywhere else.
 */
import { type Msg, type NatsConnection, type Subscription, createInbox } from "@nats-io/transport-node";
import { KvError } from "../../kv/errors.js";
import { newConsumerName, type StreamApi, type StreamState } from "./api.js";
import { Change, parseDelivery } from "./delivery.js";
import { type Delay, delayed } from "./delay.js";
import type { HubLog } from "./hub-options.js";
import { missedUpTo } from "./resume-rule.js";

export interface LiveFeedOptions {
  readonly connection: NatsConnection;
  readonly api: StreamApi;
  /** What the subjects of the bucket begin with. */
  readonly subjectPrefix: string;
  readonly onChange: (change: Change) => void;
  /** The bucket is gone, or was deleted and made again. Nothing follows. */
  readonly onGone: () => void;
  /** Changes before this revision may have been missed for ever. The feed goes on from it. */
  readonly onMissed: (oldestUsable: number) => void;
  readonly log: HubLog;
}

/** The server says that often that the consumer lives, and how far it is. */
const HEARTBEAT_MS = 600;
/** Without any sign of life for this long, the consumer is taken for lost. */
const SILENCE_MS_MAX = 1_500;
/** How long the server keeps the consumer when nobody listens. */
const ORPHAN_MS = 5_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 500;
/** A bucket is only taken for gone when the storage says so twice, this far apart: a server that has just started may not know better. */
const GONE_CHECK_MS = 200;
/** A stream that is behind what it delivered is still being recovered; after this time, it has lost writes. */
const ROLLED_BACK_MS = 10_000;

const FLOW_CONTROL = 100;

export class LiveFeed {
  /** Every change up to this revision was given to `onChange`, or was superseded before it could be. */
  position = 0;
  /** Changes that the server had still to deliver when the last one came. */
  lag = 0;
  /** How often the consumer was taken for lost. */
  restarts = 0;
  private createdAs: StreamState | undefined;
  private subscription: Subscription | undefined;
  private consumer: string | undefined;
  private consumerSequence = 0;
  private lastSignMs = 0;
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
      this.completeAtMs = performance.now();
      await this.makeConsumer(++this.attempt);
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
    return performance.now() - this.lastSignMs;
  }

  private async makeConsumer(attempt: number): Promise<void> {
    const { connection, api } = this.options;
    const inbox = createInbox();
    const name = newConsumerName();
    this.consumerSequence = 0;
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null && attempt === this.attempt) this.receive(message);
      },
    });
    try {
      await api.createConsumer(name, {
        description: "watches of one copy of ironflow-kv",
        deliver_subject: inbox,
        deliver_policy: "by_start_sequence",
        opt_start_seq: this.position + 1,
        ack_policy: "none",
        replay_policy: "instant",
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * 1e6,
        inactive_threshold: ORPHAN_MS * 1e6,
        mem_storage: true,
        num_replicas: 1,
      });
    } catch (error) {
      subscription.unsubscribe();
      throw error;
    }
    if (attempt !== this.attempt) {
      subscription.unsubscribe();
      await api.deleteConsumer(name);
      return;
    }
    this.subscription = subscription;
    this.consumer = name;
    this.lastSignMs = performance.now();
  }

  private dropConsumer(): Promise<void> {
    const { consumer } = this;
    this.subscription?.unsubscribe();
    this.subscription = undefined;
    this.consumer = undefined;
    return consumer === undefined ? Promise.resolve() : this.options.api.deleteConsumer(consumer);
  }

  private receive(message: Msg): void {
    this.lastSignMs = performance.now();
    const delivery = parseDelivery(message.reply ?? "");
    if (delivery === undefined) {
      this.receiveStatus(message);
      return;
    }
    if (delivery.consumerSequence !== this.consumerSequence + 1) {
      void this.recover("a gap in the deliveries");
      return;
    }
    this.consumerSequence = delivery.consumerSequence;
    if (delivery.streamSequence <= this.position) return;
    this.position = delivery.streamSequence;
    this.lag = delivery.pending;
    if (this.lag === 0) this.completeAtMs = this.lastSignMs;
    const storedKey = message.subject.slice(this.options.subjectPrefix.length);
    this.options.onChange(new Change(message, storedKey, delivery));
  }

  /** Heartbeats and flow control (ADR-9, ADR-15): both say how far the consumer is. */
  private receiveStatus(message: Msg): void {
    const { headers } = message;
    if (headers?.code !== FLOW_CONTROL) return;
    if (message.reply !== undefined && message.reply !== "") message.respond();
    const stalled = headers.get("Nats-Consumer-Stalled");
    if (stalled !== "") this.options.connection.publish(stalled);
    const consumerSequence = headers.get("Nats-Last-Consumer");
    if (consumerSequence === "") return;
    if (Number(consumerSequence) !== this.consumerSequence) {
      void this.recover("a delivery is missing");
      return;
    }
    this.position = Math.max(this.position, Number(headers.get("Nats-Last-Stream")));
    if (this.lag === 0) this.completeAtMs = this.lastSignMs;
  }

  private checkSigns(): void {
    const nowMs = performance.now();
    // Where this process itself stood still, signs of life may wait to be read.
    const stoodStill = nowMs - this.lastCheckMs > 2 * HEARTBEAT_MS;
    this.lastCheckMs = nowMs;
    if (stoodStill || this.consumer === undefined || this.silenceMs() < SILENCE_MS_MAX) return;
    void this.recover("no sign of life");
  }

  /** Makes the consumer anew, for as long as it takes. */
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
        await this.makeConsumer(attempt);
        return;
      } catch (error) {
        if (attempt !== this.attempt) return;
        if (error instanceof KvError && error.kind === "bucket_not_found") {
          if (++goneAnswers === 2) {
            this.options.onGone();
            return;
          }
          retryMs = GONE_CHECK_MS;
        }
        this.options.log.debug({ bucket, error }, "The watches of a bucket can't go on yet.");
      }
      this.pause = delayed(retryMs);
      await this.pause.over;
    }
  }

  private async checkMissed(state: StreamState, awaySinceMs: number): Promise<void> {
    const awayMs = performance.now() - awaySinceMs;
    if (state.lastSequence < this.position) {
      if (awayMs < ROLLED_BACK_MS) throw new Error("the stream is behind what was delivered from it");
      this.position = state.lastSequence;
      this.options.onMissed(state.lastSequence + 1);
      return;
    }
    const usable = await missedUpTo(this.options.api, state, this.position + 1, awayMs);
    if (usable === undefined) return;
    this.position = usable - 1;
    this.options.onMissed(usable);
  }
}

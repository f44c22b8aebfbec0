/**
 * Reads what a bucket holds for one watcher, in order, as fast as the watcher takes it and no faster: a short-lived pull consumer.
 * Only what was asked for is under way, so that nothing piles up anywhere.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { newConsumerName, type StreamApi } from "./api.js";
import { Change, parseDelivery } from "./delivery.js";

/** What to read: the newest message of each key, or every message from a sequence on. */
export type ReadStart = "newest_of_each" | { readonly sequence: number };

/**
 * How a pull ended. `end`: there is nothing more at present, by the copy of the stream that was read. `more`: ask again.
 * `lost`: the consumer is gone or does not answer.
 */
export type PullResult = "end" | "more" | "lost";

/** The server gives the consumer up when nothing was asked for this long. */
const IDLE_MS_MAX = 10_000;
/** A pull that hears nothing for this long is given up. Long, as the server may scan far for a rare key. */
const SILENCE_MS_MAX = 15_000;

const NO_MESSAGES = 404;
const PULL_ENDED = 409;

export class Reader {
  private readonly inbox = createInbox();
  private readonly name = newConsumerName();
  private readonly subscription: Subscription;
  private finishPull: ((result: PullResult) => void) | undefined;
  private onChange: ((change: Change) => void) | undefined;
  private toCome = 0;
  private consumerSequence = 0;
  private silence: NodeJS.Timeout | undefined;
  private bytesMax: number;
  private isClosed = false;

  private constructor(
    private readonly connection: NatsConnection,
    private readonly api: StreamApi,
    private readonly subjectPrefix: string,
    /**
     * Whether `end` may be said too early: what is newest of each key is listed by the server when the consumer is made, and where one
     * of the list was removed since, it says that there is nothing more (2.14). It goes on when asked again.
     */
    readonly mayStumble: boolean,
    bytesMax: number,
  ) {
    this.bytesMax = bytesMax;
    this.subscription = connection.subscribe(this.inbox, {
      callback: (error, message) => {
        if (error === null) this.receive(message);
      },
    });
  }

  /** Makes the consumer. `subject`: a NATS filter without the bucket's prefix. `bytesMax`: the most that one pull brings. */
  static async open(
    connection: NatsConnection,
    api: StreamApi,
    subjectPrefix: string,
    subject: string,
    start: ReadStart,
    bytesMax: number,
  ): Promise<Reader> {
    const reader = new Reader(connection, api, subjectPrefix, start === "newest_of_each", bytesMax);
    try {
      await api.createConsumer(reader.name, {
        description: "the first part of one watch through ironflow-kv",
        ...(start === "newest_of_each"
          ? { deliver_policy: "last_per_subject" }
          : { deliver_policy: "by_start_sequence", opt_start_seq: start.sequence }),
        filter_subject: subjectPrefix + subject,
        ack_policy: "none",
        replay_policy: "instant",
        inactive_threshold: IDLE_MS_MAX * 1e6,
        mem_storage: true,
        num_replicas: 1,
      });
      return reader;
    } catch (error) {
      reader.isClosed = true;
      reader.subscription.unsubscribe();
      throw error;
    }
  }

  /** Reads up to `batch` changes. */
  pull(batch: number, onChange: (change: Change) => void): Promise<PullResult> {
    if (this.isClosed || this.connection.isClosed()) return Promise.resolve("lost");
    this.onChange = onChange;
    this.toCome = batch;
    return new Promise((resolve) => {
      this.finishPull = resolve;
      this.heard();
      this.connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${this.api.stream}.${this.name}`,
        JSON.stringify({ batch, max_bytes: this.bytesMax, no_wait: true }),
        { reply: this.inbox },
      );
    });
  }

  /** Ends a pull under way as lost, and deletes the consumer. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.subscription.unsubscribe();
    this.finish("lost");
    await this.api.deleteConsumer(this.name);
  }

  /** The connection is gone: a pull under way will not be answered. */
  interrupt(): void {
    this.finish("lost");
  }

  private receive(message: Msg): void {
    if (this.finishPull === undefined) return;
    this.heard();
    const delivery = parseDelivery(message.reply ?? "");
    if (delivery === undefined) {
      this.receiveStatus(message);
      return;
    }
    if (delivery.consumerSequence !== this.consumerSequence + 1) {
      this.finish("lost");
      return;
    }
    this.consumerSequence = delivery.consumerSequence;
    this.toCome--;
    this.onChange?.(new Change(message, message.subject.slice(this.subjectPrefix.length), delivery));
  }

  /** What ends a pull (ADR-13): each one is ended by one of these, also when it brought all it was to bring. */
  private receiveStatus(message: Msg): void {
    const code = message.headers?.code ?? 0;
    const description = message.headers?.description ?? "";
    if (code === NO_MESSAGES) {
      this.finish("end");
    } else if (code === PULL_ENDED && description === "Batch Completed") {
      this.finish("more");
    } else if (code === PULL_ENDED && description === "Message Size Exceeds MaxBytes") {
      // One message is larger than all that was asked for: another program may store such.
      if (Number(message.headers?.get("Nats-Pending-Bytes")) === this.bytesMax) this.bytesMax *= 2;
      this.finish("more");
    } else if (code !== 100) {
      this.finish("lost");
    }
  }

  private finish(result: PullResult): void {
    const finish = this.finishPull;
    this.finishPull = undefined;
    this.onChange = undefined;
    clearTimeout(this.silence);
    this.silence = undefined;
    finish?.(result);
  }

  private heard(): void {
    if (this.silence === undefined) this.silence = setTimeout(() => this.finish("lost"), SILENCE_MS_MAX);
    else this.silence.refresh();
  }
}

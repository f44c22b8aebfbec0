/** Where a feed's changes come from: what the stream republishes or, where it can't, a consumer. */
import type { CallContext } from "../../kv/call-context.js";
import type { StreamConfig, StreamInfo } from "../client/jetstream-api.js";
import type { Link } from "../client/link.js";
import type { Place } from "../client/message-reader.js";
import type { Change } from "../read/delivery.js";
import type { StreamApi, StreamState } from "../read/stream-api.js";
import { republishConfig, republishSubject } from "../streams/republish.js";
import { ConsumerSource } from "./consumer-source.js";
import type { FeedLog } from "./bucket-feed.js";
import type { IdleWindows } from "./idle-windows.js";
import { RepublishSource } from "./republish-source.js";

/** Changes a stream's configuration, under the lease that all copies of the service respect. */
export type ConfigureStream = (
  place: Place,
  edit: (current: StreamInfo) => StreamConfig,
  context: CallContext,
) => Promise<StreamInfo>;

export interface FeedSourceOptions {
  readonly api: StreamApi;
  readonly link: Link;
  readonly subjectPrefix: string;
  readonly idleWindows: IdleWindows;
  /** Default: streams without a republish stay so. */
  readonly configure: ConfigureStream | undefined;
  readonly log: FeedLog;
  /** The next change in the order of sequences, if none is missing: see `isGapless`. */
  readonly onChange: (change: Change) => void;
  /** Of a consumer: everything that is stored up to this sequence was delivered. */
  readonly onPosition: (sequence: number) => void;
  readonly onLost: (why: string) => void;
}

const CONFIGURE_TIMEOUT_MS = 5_000;
const NEVER_ABORTED = new AbortController().signal;

export class FeedSource {
  private republished: RepublishSource | undefined;
  private subject: string | undefined;
  private consumer: ConsumerSource | undefined;
  /** Why this stream's republished messages can't be used. */
  private cannotRepublish: string | undefined;

  constructor(private readonly options: FeedSourceOptions) {}

  /** Whether the changes come from a consumer: then what is missing in between is superseded, and nothing else. */
  get isConsumer(): boolean {
    return this.republished === undefined;
  }

  silenceMs(): number {
    return this.consumer?.silenceMs() ?? 0;
  }

  /** Whether it is to be replaced: the stream is, or can be, configured to republish, or republishes elsewhere. */
  isOutdated(state: StreamState): boolean {
    if (this.cannotRepublish !== undefined) return false;
    const subject = this.subjectOf(state);
    if (subject === undefined) return !this.isConsumer || this.options.configure !== undefined;
    return this.isConsumer || subject !== this.subject;
  }

  /** Makes sure that the server knows the subscription, where there is one. */
  async confirm(): Promise<void> {
    await this.republished?.open();
  }

  /** Subscribes to what the stream republishes, which it is configured to do if it is not. False: a consumer is needed. */
  async subscribe(state: StreamState): Promise<boolean> {
    this.unsubscribe();
    if (this.cannotRepublish !== undefined) return false;
    const subject = this.subjectOf(state) ?? (await this.configure(state));
    if (subject === undefined) return false;
    const { api, link, subjectPrefix, onChange } = this.options;
    const source = new RepublishSource({ link, subject, stream: api.stream, subjectPrefix, onChange });
    try {
      await source.open();
    } catch (error) {
      source.close();
      if (!source.isRefused) throw error;
      this.giveUpRepublish("the server does not permit the subscription", error);
      return false;
    }
    this.republished = source;
    this.subject = subject;
    await this.closeConsumer();
    return true;
  }

  /** From now on a consumer serves. */
  giveUpRepublish(why: string, error?: unknown): void {
    this.cannotRepublish = why;
    this.unsubscribe();
    const { api, log } = this.options;
    log.info(
      { bucket: api.bucket, why, err: error },
      "The changes of a bucket come from a consumer, which misses what is superseded before its turn.",
    );
  }

  /** Recreates the consumer, to deliver what is stored after the sequence. */
  async consume(after: number, isCurrent: () => boolean): Promise<void> {
    await this.closeConsumer();
    const { api, subjectPrefix, idleWindows, onChange, onPosition, onLost } = this.options;
    const whileCurrent =
      <Argument>(call: (argument: Argument) => void) =>
      (argument: Argument): void => {
        if (isCurrent()) call(argument);
      };
    const consumer = await ConsumerSource.open(
      {
        ...{ api, subjectPrefix, idleWindows },
        onChange: whileCurrent(onChange),
        onPosition: whileCurrent(onPosition),
        onLost: whileCurrent(onLost),
      },
      after,
    );
    if (isCurrent()) this.consumer = consumer;
    else await consumer.close();
  }

  async close(): Promise<void> {
    this.unsubscribe();
    await this.closeConsumer();
  }

  private subjectOf({ republish }: StreamState): string | undefined {
    return republishSubject(republish, this.options.subjectPrefix);
  }

  private async configure(state: StreamState): Promise<string | undefined> {
    const { api, subjectPrefix, configure } = this.options;
    if (state.republish !== undefined) {
      this.giveUpRepublish("the stream republishes something else");
      return undefined;
    }
    if (configure === undefined) return undefined;
    const republish = republishConfig(api.stream, subjectPrefix);
    const context = { deadlineMs: performance.now() + CONFIGURE_TIMEOUT_MS, signal: NEVER_ABORTED };
    try {
      const { config } = await configure(
        { bucket: api.bucket, stream: api.stream },
        (current) => ({ republish, ...current.config }),
        context,
      );
      return republishSubject(config.republish, subjectPrefix);
    } catch (error) {
      this.giveUpRepublish("the stream can't be configured to republish", error);
      return undefined;
    }
  }

  private unsubscribe(): void {
    this.republished?.close();
    this.republished = undefined;
  }

  private async closeConsumer(): Promise<void> {
    const { consumer } = this;
    this.consumer = undefined;
    await consumer?.close();
  }
}

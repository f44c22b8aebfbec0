/**
 * Reads what a bucket holds for one watcher, in order, as fast as the watcher takes it and no faster: a short-lived pull consumer.
 * Only what was asked for is under way, so that nothing piles up anywhere.
 */
import { createInbox, type Msg, type Subscription } from "@nats-io/transport-node";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import type { Frame } from "../client/frames.js";
import { HeaderBlock, headersOf, payloadBytes, replyBytes } from "../client/messages.js";
import type { StreamApi } from "./stream-api.js";
import { AskedBytes } from "./asked-bytes.js";
import { consumerConfig, type ReadStart } from "./consumer-config.js";
import { Change, type Delivery, parseDelivery } from "./delivery.js";
import { changeWithoutValue, MessageHead } from "./message-head.js";

export interface ReaderOptions {
  readonly start: ReadStart;
  /** The most bytes that one pull brings. */
  readonly bytesMax: number;
  /** Without values. Default: false. */
  readonly headersOnly?: boolean;
  /** With values, for {@link Reader.pullFrames}. Default: false. */
  readonly asFrames?: boolean;
  /** Until when the consumer is to be created. Default: see `StreamApi.createConsumer`. */
  readonly context?: CallContext;
  /** A pull that hears nothing for this long is given up. Default: long, as the server may scan far for a rare key. */
  readonly silenceMs?: number;
  /** Whose read it is: callers take turns. Default: the context's caller, or else this reader is a caller of its own. */
  readonly flow?: unknown;
}

/**
 * How a pull ended. `end`: there is nothing more at present, by the copy of the stream that was read. `more`: ask again.
 * `lost`: the consumer is gone or does not answer.
 */
export type PullResult = "end" | "more" | "lost";

const SILENCE_MS_MAX = 15_000;

/** What a message takes on the wire beside what the server counts. */
const FRAME_BYTES = 128;
/** The most bytes that a message without its value is expected to have: a key and headers of this service have far fewer. */
const HEADERS_BYTES = 16_384;
/** Room for the newest of each key in one pull: a few of the largest messages. */
const NEWEST_BYTES_MAX = 4 * 1_048_576;
/** The most messages of one pull: handling them is to take no longer than a turn of the event loop. */
const PULL_MESSAGES_MAX = 512;
/** Without values, or small ones: they arrive in several reads of the socket, so in several turns. */
const PULL_FRAMES_MAX = 2_048;
/** Handling a small message is as much work as copying these bytes. */
const MESSAGE_WORK_BYTES = 1_024;
const FRAME_WORK_BYTES = 256;
/** The most such messages in one pull: as many as are expected to bring so much, and few as long as nothing is known of them. */
const HEADERS_BATCH_MAX = 256;
const HEADERS_BATCH_FIRST = 64;
const HEADERS_BYTES_EXPECTED = 1_048_576;

const NO_MESSAGES = 404;
const PULL_ENDED = 409;

/** As the server wants it: https://github.com/nats-io/nats-architecture-and-design ADR-13. */
interface PullRequest {
  readonly batch: number;
  readonly max_bytes?: number;
  readonly no_wait: true;
}

export class Reader {
  private readonly inbox = createInbox();
  /** Of the consumer; empty until it is made. */
  private name = "";
  private readonly subscription: Subscription;
  private readonly asked: AskedBytes;
  private readonly stopListening: () => void;
  private finishPull: ((result: PullResult) => void) | undefined;
  private onMessage: ((message: Msg, delivery: Delivery) => void) | undefined;
  private onFrame: ((frame: Frame, delivery: Delivery) => void) | undefined;
  private consumerSequence = 0;
  /** Messages after which the server ends the pull without a word; undefined: it sends a status. */
  private countLeft: number | undefined;
  private silence: NodeJS.Timeout | undefined;
  private isSilent = false;
  private readonly prefix: Uint8Array;
  private bytesMax: number;
  /** What the pull under way, or the last one, has brought. */
  private pulledMessages = 0;
  private pulledBytes = 0;
  private isClosed = false;

  private constructor(
    private readonly api: StreamApi,
    private readonly subjectPrefix: string,
    /**
     * Whether `end` may be said too early: what is newest of each key is listed by the server when the consumer is made, and where one
     * of the list was removed since, it says that there is nothing more (2.14). It goes on when asked again.
     */
    readonly mayStumble: boolean,
    bytesMax: number,
    private readonly headersOnly: boolean,
    private readonly asFrames: boolean,
    private readonly silenceMs: number,
    private readonly flow: unknown,
  ) {
    this.bytesMax = bytesMax;
    this.prefix = Buffer.from(subjectPrefix);
    const { link } = api.requests;
    this.asked = new AskedBytes(link);
    this.subscription = asFrames
      ? link.subscribeFrames(this.inbox, (frame) => this.receiveFrame(frame))
      : link.subscribe(this.inbox, (message) => this.receive(message));
    // A pull that is under way will not be answered.
    this.stopListening = link.onDisconnect(() => this.interrupt());
  }

  /** Creates the consumer. `subject`: a NATS filter without the bucket's prefix. */
  static async open(
    api: StreamApi,
    subjectPrefix: string,
    subject: string,
    options: ReaderOptions,
  ): Promise<Reader> {
    const { start, bytesMax, headersOnly = false, context, silenceMs = SILENCE_MS_MAX, flow } = options;
    const asFrames = headersOnly || options.asFrames === true;
    const reader = new Reader(
      api,
      subjectPrefix,
      start === "newest_of_each",
      bytesMax,
      headersOnly,
      asFrames,
      silenceMs,
      flow ?? (context && flowOf(context)),
    );
    try {
      const config = consumerConfig(start, subjectPrefix, subject, { headersOnly, asFrames });
      reader.name = (await api.createConsumer(config, context)).name;
      return reader;
    } catch (error) {
      reader.isClosed = true;
      reader.stopListening();
      void reader.asked.close(reader.subscription);
      throw error;
    }
  }

  /** Reads up to `batch` changes. Where this reader reads no values, those of the changes are empty. */
  pull(batch: number, onChange: (change: Change) => void): Promise<PullResult> {
    if (this.headersOnly) return this.pullHeads(batch, (head) => onChange(changeWithoutValue(head)));
    this.onMessage = (message, delivery) => onChange(this.changeOf(message, delivery));
    return this.pullMessages(batch);
  }

  /** Reads up to `batch` messages without their values. For a reader of headers only. */
  pullHeads(batch: number, onHead: (head: MessageHead) => void): Promise<PullResult> {
    const { length } = this.prefix;
    return this.pullFrames(batch, (frame, delivery) => onHead(new MessageHead(frame, delivery, length)));
  }

  /** Reads up to `batch` messages. For a reader with `asFrames`. A frame is valid only during the call that it is passed to. */
  pullFrames(batch: number, onFrame: (frame: Frame, delivery: Delivery) => void): Promise<PullResult> {
    this.onFrame = onFrame;
    return this.pullMessages(batch);
  }

  private pullMessages(batch: number): Promise<PullResult> {
    const { link } = this.api.requests;
    if (this.isClosed || !link.isConnected) return Promise.resolve("lost");
    const { request, bytesMax } = this.pullOf(batch);
    this.countLeft = this.mayStumble ? request.batch : undefined;
    return new Promise((resolve) => {
      this.finishPull = resolve;
      const ask = (): boolean => {
        if (this.finishPull !== resolve || !link.isConnected) return false;
        this.pulledMessages = 0;
        this.pulledBytes = 0;
        this.awaitMessages();
        link.connection.publish(
          `$JS.API.CONSUMER.MSG.NEXT.${this.api.stream}.${this.name}`,
          JSON.stringify(request),
          { reply: this.inbox },
        );
        return true;
      };
      const bytesEach = this.expectedBytesEach ?? Infinity;
      const workBytes = this.asFrames ? FRAME_WORK_BYTES : MESSAGE_WORK_BYTES;
      const expectedBytes = Math.min(bytesMax, bytesEach * request.batch) + request.batch * workBytes;
      this.asked.reserve(bytesMax, ask, this.flow ?? this, expectedBytes);
    });
  }

  /**
   * A request for the next messages, and the most bytes that its answer takes.
   *
   * The newest of each key are limited by their count alone: where `max_bytes` ends a pull, the server has taken the next message from its list
   * and never sends it (consumer.go of 2.15.1: getNextMsg removes it from the list, and only `sseq` is put back).
   */
  private pullOf(batch: number): { readonly request: PullRequest; readonly bytesMax: number } {
    if (!this.mayStumble) {
      const count = Math.min(batch, this.asFrames ? PULL_FRAMES_MAX : PULL_MESSAGES_MAX);
      const request: PullRequest = { batch: count, max_bytes: this.bytesMax, no_wait: true };
      return { request, bytesMax: this.bytesMax + count * FRAME_BYTES };
    }
    const { messageBytesMax } = this.api;
    const bytesEach = this.headersOnly ? Math.min(HEADERS_BYTES, messageBytesMax) : messageBytesMax;
    const newestBytesMax = Math.max(NEWEST_BYTES_MAX, this.bytesMax);
    const countMax = this.headersOnly ? this.headersBatch() : Math.floor(newestBytesMax / bytesEach);
    const count = Math.max(1, Math.min(batch, countMax));
    return { request: { batch: count, no_wait: true }, bytesMax: count * (bytesEach + FRAME_BYTES) };
  }

  private headersBatch(): number {
    const bytesEach = this.expectedBytesEach;
    if (bytesEach === undefined) return HEADERS_BATCH_FIRST;
    return Math.min(HEADERS_BATCH_MAX, Math.floor(HEADERS_BYTES_EXPECTED / bytesEach));
  }

  /** As the last pull's messages were; undefined: it brought none. */
  private get expectedBytesEach(): number | undefined {
    return this.pulledMessages === 0 ? undefined : Math.max(1, this.pulledBytes / this.pulledMessages);
  }

  /** Ends a pull under way as lost, and deletes the consumer. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.stopListening();
    this.finish("lost");
    await Promise.all([this.asked.close(this.subscription), this.api.deleteConsumer(this.name)]);
  }

  /** Ends a pull under way as lost. */
  interrupt(): void {
    this.finish("lost");
  }

  private receive(message: Msg): void {
    if (this.finishPull === undefined) return;
    this.isSilent = false;
    const delivery = parseDelivery(replyBytes(message));
    if (delivery === undefined) {
      this.receiveStatus(headersOf(message));
      return;
    }
    if (!this.isNext(delivery, payloadBytes(message).length)) return;
    this.onMessage?.(message, delivery);
    this.countDown();
  }

  /** Like `receive`, for reads of frames: decodes nothing else. */
  private receiveFrame(frame: Frame): void {
    if (this.finishPull === undefined) return;
    this.isSilent = false;
    const { bytes, payloadStart, payloadEnd } = frame;
    const delivery = parseDelivery(bytes, frame.replyStart, frame.replyEnd);
    if (delivery === undefined) {
      const headers = bytes.subarray(payloadStart, payloadStart + frame.headerBytes);
      this.receiveStatus(new HeaderBlock(Buffer.from(headers).toString("latin1")));
      return;
    }
    if (!this.isNext(delivery, payloadEnd - payloadStart)) return;
    if (this.isOfBucket(frame)) this.onFrame?.(frame, delivery);
    this.countDown();
  }

  /** A read without a subject filter also returns messages of other subjects. */
  private isOfBucket({ bytes, subjectStart }: Frame): boolean {
    const { prefix } = this;
    for (let at = 0; at < prefix.length; at++) if (bytes[subjectStart + at] !== prefix[at]) return false;
    return true;
  }

  /** Counts a delivered message. False: one before it is missing. */
  private isNext({ consumerSequence }: Delivery, bytes: number): boolean {
    this.pulledMessages++;
    this.pulledBytes += bytes;
    this.asked.arrived(bytes);
    const isNext = consumerSequence === this.consumerSequence + 1;
    if (isNext) this.consumerSequence = consumerSequence;
    else this.finish("lost");
    return isNext;
  }

  private countDown(): void {
    if (this.countLeft !== undefined && --this.countLeft === 0) this.finish("more");
  }

  private changeOf(message: Msg, delivery: Delivery): Change {
    const headers = headersOf(message);
    const storedKey = message.subject.slice(this.subjectPrefix.length);
    return new Change({ headers, data: message.data }, storedKey, delivery);
  }

  /** The status that ends a pull (ADR-13). A pull with `max_bytes` ends with one also when it brought all that it was to bring. */
  private receiveStatus(headers: HeaderBlock): void {
    const { status: code, description } = headers;
    if (code === NO_MESSAGES) {
      this.finish("end");
    } else if (code === PULL_ENDED && description === "Batch Completed") {
      this.finish("more");
    } else if (code === PULL_ENDED && description === "Message Size Exceeds MaxBytes") {
      // One message is larger than all that was asked for: another program may store such.
      if (Number(headers.get("Nats-Pending-Bytes")) === this.bytesMax) this.bytesMax *= 2;
      this.finish("more");
    } else if (code !== 100) {
      this.finish("lost");
    }
  }

  private finish(result: PullResult): void {
    const finish = this.finishPull;
    this.finishPull = undefined;
    this.onMessage = undefined;
    this.onFrame = undefined;
    if (result !== "lost") this.asked.complete();
    clearTimeout(this.silence);
    this.silence = undefined;
    finish?.(result);
  }

  private awaitMessages(): void {
    this.isSilent = true;
    this.silence ??= setTimeout(() => this.checkSilence(), this.silenceMs);
  }

  /** Restarting the timer for each message would cost more than reading it: a pull that stops midway is given up a little later. */
  private checkSilence(): void {
    if (this.isSilent) {
      this.finish("lost");
      return;
    }
    this.isSilent = true;
    this.silence?.refresh();
  }
}

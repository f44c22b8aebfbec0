/**
 * The changes of a bucket whose stream can't republish: another program's, whose configuration may not be changed. A pull consumer: the
 * server sends no more than was asked for, so that the feeds of many buckets together stay within the connection's budget. (A push
 * consumer's flow control allows 32 MiB for each.) It never delivers what was superseded before its turn.
 *
 * One pull is open at a time. An idle pull waits for changes and asks for little. Where there is more, or a change is larger, further
 * pulls drain what is there, each within the budget, until nothing is left.
 */
import { createInbox, type Msg, type Subscription } from "@nats-io/transport-node";
import { type HeaderBlock, headersOf, replyBytes } from "../client/messages.js";
import type { StreamApi } from "../read/stream-api.js";
import { AskedBytes } from "../read/asked-bytes.js";
import { Change, parseDelivery } from "../read/delivery.js";
import type { IdleWindows } from "./idle-windows.js";

export interface ConsumerSourceOptions {
  readonly api: StreamApi;
  readonly subjectPrefix: string;
  readonly idleWindows: IdleWindows;
  readonly onChange: (change: Change) => void;
  /** The server has delivered everything that is stored up to this revision. */
  readonly onPosition: (revision: number) => void;
  /** The consumer may have lost something. */
  readonly onLost: (why: string) => void;
}

/** How often the server says that an idle consumer lives, and how far it is. */
const HEARTBEAT_MS = 600;
/** Without any sign of life for this long, the consumer is taken for lost. */
const SILENCE_MS_MAX = 1_500;
/** The same while it reads what is there: it sends no heartbeats then, and the disk may be slow. */
const DRAIN_SILENCE_MS_MAX = 5_000;
/** Compaction waits for a consumer that lags for a minute (compaction.ts): after half of that, what is missing has to be found out. */
const STOOD_STILL_MS_MAX = 30_000;
/** How long an idle pull stays open. */
const IDLE_PULL_MS = 30_000;
/** How long the server keeps the consumer when nobody asks. */
const ORPHAN_MS = 5_000;
/** Changes of one pull at most: as many may arrive before watchers are served. */
const BATCH_MAX = 1_024;
/** Bytes of one draining pull, beside the largest message. */
const DRAIN_BYTES = 1_048_576;
/** What a message takes on the wire beside what the server counts. */
const FRAME_BYTES = 128;

const HEARTBEAT = 100;
const NO_MESSAGES = 404;
const TIMEOUT = 408;
const PULL_ENDED = 409;

export class ConsumerSource {
  private readonly inbox = createInbox();
  /** Of the consumer; empty until it is made. */
  private name = "";
  private readonly subscription: Subscription;
  private readonly asked: AskedBytes;
  private pull: "idle" | "drain" | "queued" | undefined;
  private idleWindow = 0;
  private drainBytes: number;
  private consumerSequence = 0;
  private lastSignMs = performance.now();
  private lastCheckMs = performance.now();
  private watchdog: NodeJS.Timeout | undefined;
  private isClosed = false;

  private constructor(private readonly options: ConsumerSourceOptions) {
    const { link } = options.api.requests;
    this.drainBytes = DRAIN_BYTES + options.api.messageBytesMax;
    this.asked = new AskedBytes(link);
    this.subscription = link.subscribe(this.inbox, (message) => this.receive(message));
  }

  /** Creates the consumer, which delivers every change after this revision. */
  static async open(options: ConsumerSourceOptions, after: number): Promise<ConsumerSource> {
    const consumer = new ConsumerSource(options);
    try {
      const { name } = await options.api.createConsumer({
        description: "watches of one copy of ironflow-kv",
        deliver_policy: "by_start_sequence",
        opt_start_seq: after + 1,
        ack_policy: "none",
        replay_policy: "instant",
        inactive_threshold: ORPHAN_MS * 1e6,
        mem_storage: true,
        num_replicas: 1,
      });
      consumer.name = name;
    } catch (error) {
      consumer.unsubscribe();
      throw error;
    }
    consumer.lastSignMs = performance.now();
    consumer.lastCheckMs = consumer.lastSignMs;
    consumer.watchdog = setInterval(() => consumer.checkSigns(), HEARTBEAT_MS).unref();
    consumer.pullIdle();
    return consumer;
  }

  /** Milliseconds since the server's last sign of life. */
  silenceMs(): number {
    return performance.now() - this.lastSignMs;
  }

  /** Deletes the consumer. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.unsubscribe();
    await this.options.api.deleteConsumer(this.name);
  }

  private checkSigns(): void {
    const nowMs = performance.now();
    // Where this process itself stood still, signs of life may wait to be read.
    const { lastCheckMs } = this;
    const stoodStill = nowMs - lastCheckMs > 2 * HEARTBEAT_MS;
    this.lastCheckMs = nowMs;
    if (nowMs - lastCheckMs > STOOD_STILL_MS_MAX) this.options.onLost("this process stood still");
    else if (!stoodStill && this.isSilent()) this.options.onLost("no sign of life");
  }

  /** Whether the server is silent for longer than it should be. A pull that waits for the budget was not sent. */
  private isSilent(): boolean {
    if (this.pull === "queued") return false;
    return this.silenceMs() >= (this.pull === "drain" ? DRAIN_SILENCE_MS_MAX : SILENCE_MS_MAX);
  }

  private unsubscribe(): void {
    this.isClosed = true;
    clearInterval(this.watchdog);
    this.endPull();
    void this.asked.close(this.subscription);
  }

  private pullIdle(): void {
    this.idleWindow = this.options.idleWindows.reserve();
    this.pull = "idle";
    const [expires, idle_heartbeat] = [IDLE_PULL_MS * 1e6, HEARTBEAT_MS * 1e6];
    this.ask({ batch: BATCH_MAX, max_bytes: this.idleWindow, expires, idle_heartbeat });
  }

  private pullWhatIsThere(): void {
    this.pull = "queued";
    const bytes = this.drainBytes;
    this.asked.reserve(bytes + BATCH_MAX * FRAME_BYTES, () => {
      if (this.pull !== "queued") return false;
      this.pull = "drain";
      this.lastSignMs = performance.now();
      this.ask({ batch: BATCH_MAX, max_bytes: bytes, no_wait: true });
      return true;
    });
  }

  private ask(pull: object): void {
    const { api } = this.options;
    const { connection } = api.requests.link;
    if (connection.isClosed()) return;
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${api.stream}.${this.name}`, JSON.stringify(pull), {
      reply: this.inbox,
    });
  }

  private endPull(): void {
    if (this.pull === "idle") this.options.idleWindows.release(this.idleWindow);
    if (this.pull === "drain" && !this.isClosed) this.asked.complete();
    this.pull = undefined;
  }

  private receive(message: Msg): void {
    if (this.isClosed) return;
    this.lastSignMs = performance.now();
    const headers = headersOf(message);
    const delivery = parseDelivery(replyBytes(message));
    if (delivery === undefined) {
      this.receiveStatus(headers);
      return;
    }
    if (this.pull === "drain") this.asked.arrived(headers.text.length + message.data.length);
    if (delivery.consumerSequence !== this.consumerSequence + 1) {
      this.options.onLost("a gap in the deliveries");
      return;
    }
    this.consumerSequence = delivery.consumerSequence;
    const storedKey = message.subject.slice(this.options.subjectPrefix.length);
    this.options.onChange(new Change({ headers, data: message.data }, storedKey, delivery));
  }

  /** Heartbeats, and what ends a pull (ADR-13). */
  private receiveStatus(headers: HeaderBlock): void {
    const { status, description } = headers;
    if (status === HEARTBEAT) {
      this.receiveHeartbeat(headers);
    } else if (status === NO_MESSAGES || status === TIMEOUT) {
      this.endPull();
      this.pullIdle();
    } else if (status === PULL_ENDED && description === "Batch Completed") {
      this.endPull();
      this.pullWhatIsThere();
    } else if (status === PULL_ENDED && description === "Message Size Exceeds MaxBytes") {
      // A change that is larger than all that a draining pull asks for: another program may store such.
      const isTooSmall =
        this.pull === "drain" && Number(headers.get("Nats-Pending-Bytes")) === this.drainBytes;
      if (isTooSmall) this.drainBytes *= 2;
      this.endPull();
      this.pullWhatIsThere();
    } else {
      this.options.onLost(`its consumer ended: ${description}`);
    }
  }

  private receiveHeartbeat(headers: HeaderBlock): void {
    const consumerSequence = headers.get("Nats-Last-Consumer");
    if (consumerSequence === "") return;
    if (Number(consumerSequence) === this.consumerSequence)
      this.options.onPosition(Number(headers.get("Nats-Last-Stream")));
    else this.options.onLost("a delivery is missing");
  }
}

/** What a bucket's stream republishes, as changes. Whether any is missing shows in their sequences: see `LiveFeed`. */
import type { Msg, Subscription } from "@nats-io/transport-node";
import type { Link } from "../client/link.js";
import { HeaderBlock, headersOf } from "../client/messages.js";
import { parseTimestamp } from "../client/timestamps.js";
import { NoReplyError } from "../client/no-reply.js";
import { Change } from "../read/delivery.js";
import { delayed } from "./delay.js";

export interface RepublishSourceOptions {
  /**
   * A connection for feeds only. The server sends what is stored without being asked: where this process reads too slowly, it closes the
   * connection, and no call may depend on that one.
   */
  readonly link: Link;
  /** Where the stream republishes. */
  readonly subject: string;
  readonly stream: string;
  /** What the subjects of the bucket begin with. */
  readonly subjectPrefix: string;
  readonly onChange: (change: Change) => void;
}

/** The first header that the server adds to a republished message; what the writer gave comes before it. */
const FIRST_ADDED = "\r\nNats-Stream:";

/** How long a connection that is lost may take to be back. */
const RECONNECT_MS = 2_000;
/** Until a lost connection counts as lost. */
const LOST_PAUSE_MS = 20;

export class RepublishSource {
  private subscription: Subscription | undefined;
  private refusal: Error | undefined;
  private isClosed = false;

  constructor(private readonly options: RepublishSourceOptions) {}

  /**
   * Subscribes. Resolves when the server knows the subscription. Waits for a connection that is not back yet. Throws where the server refuses
   * the subscription, the connection is lost, or NATS is unavailable.
   */
  async open(): Promise<void> {
    const { link, subject } = this.options;
    for (let isKnown = false; !isKnown;) {
      while (!link.isConnected && link.isReachable) await reconnected(link);
      if (this.isClosed || !link.isConnected) throw new NoReplyError("disconnected", false);
      this.subscription ??= link.subscribe(
        subject,
        (message) => this.receive(message),
        (error) => (this.refusal = error),
      );
      isKnown = await this.flush();
    }
    if (this.refusal !== undefined) throw this.refusal;
  }

  /** Whether the server does not permit the subscription. */
  get isRefused(): boolean {
    return this.refusal !== undefined;
  }

  close(): void {
    this.isClosed = true;
    if (!this.options.link.connection.isClosed()) this.subscription?.unsubscribe();
    this.subscription = undefined;
  }

  /** False: the connection was lost meanwhile. Throws if NATS is unavailable. */
  private async flush(): Promise<boolean> {
    const { link } = this.options;
    try {
      await link.connection.flush();
      return true;
    } catch (error) {
      await delayed(LOST_PAUSE_MS).over;
      if (!link.isReachable) throw error;
      return false;
    }
  }

  private receive(message: Msg): void {
    if (this.subscription === undefined) return;
    const headers = headersOf(message);
    const sequence = Number(headers.last("Nats-Sequence"));
    const subject = headers.last("Nats-Subject");
    const { stream, subjectPrefix } = this.options;
    // Any program that may publish in the account can publish here.
    const isOurs = headers.last("Nats-Stream") === stream && subject.startsWith(subjectPrefix);
    if (!isOurs || !Number.isSafeInteger(sequence) || sequence <= 0) return;
    const time = parseTimestamp(headers.last("Nats-Time-Stamp"));
    const stored = new HeaderBlock(headers.text.slice(0, headers.text.lastIndexOf(FIRST_ADDED) + 2));
    const delivery = {
      streamSequence: sequence,
      consumerSequence: 0,
      timeMs: time.ms,
      timeNanos: time.nanos,
      pending: 0,
    };
    const change = new Change(
      { headers: stored, data: message.data },
      subject.slice(subjectPrefix.length),
      delivery,
    );
    change.replaces = Number(headers.last("Nats-Last-Sequence"));
    this.options.onChange(change);
  }
}

/** Resolves when the connection is back, or after a time. */
export async function reconnected(link: Link): Promise<void> {
  const late = delayed(RECONNECT_MS);
  const stopListening = link.onReconnect(() => late.cancel());
  await late.over;
  stopListening();
}

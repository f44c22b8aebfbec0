/** The few JetStream API calls that watches need, with answers checked and failures as `KvError`. */
import { createInbox } from "@nats-io/transport-node";
import { KvError, type KvErrorKind } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import { AnswerSizes } from "../client/answer-sizes.js";
import { JetStreamError, kindOf, toKvError, unavailable } from "../client/errors.js";
import {
  askJetStream,
  readJetStream,
  SLOW_ANSWER_GROWTH,
  type StreamConfig,
  type StreamInfo,
  untilAnswered,
  within,
} from "../client/jetstream-api.js";
import { inBase64 } from "../client/message-reader.js";
import type { AttemptContext, Requests } from "../client/requests.js";
import { compactedTo, CREATION_ID_KEY } from "../streams/stream-config.js";
import { parseTimestamp } from "../client/timestamps.js";

/** What a stream is and holds, as its leader knows it. Sequences are safe integers: 2^53 writes take centuries. */
export interface StreamState {
  /** When it was made, as the server wrote it: tells two streams of one name apart. */
  readonly created: string;
  readonly createdAtMs: number;
  readonly messages: number;
  /** Subjects that have a message: keys with a value or a tombstone. */
  readonly subjects: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** When the message of that sequence was stored, by the server's clock, in nanoseconds since 1970; 0 or less where there was none. */
  readonly lastStoredAtNanos: bigint;
  /** Messages kept per subject. */
  readonly history: number;
  /** How long messages live, in milliseconds; 0: forever. */
  readonly ageMsMax: number;
  /** How long the marker that an expired message leaves behind lives; 0: none is left, or no entry is known to expire. */
  readonly markerMs: number;
  /** Up to which revision tombstones may have been compacted; 0: none was. */
  readonly compactedTo: number;
  /** The server's time. */
  readonly nowMs: number;
  /** Where the stream republishes what it stores. */
  readonly republish: StreamConfig["republish"];
}

/** What the server says of a consumer it made. */
export interface ConsumerState {
  readonly name: string;
  /** The stream's messages up to here come before the consumer's first. */
  readonly startsAfter: number;
  /** Messages it had to deliver when it was made. */
  readonly pending: number;
}

/** Where and when a message is stored. */
export interface StoredAt {
  readonly sequence: number;
  /** By the server's clock, in nanoseconds since 1970. */
  readonly atNanos: bigint;
}

interface ConsumerInfo {
  readonly delivered: { readonly stream_seq: number };
  readonly num_pending?: number;
}

const NANOS_PER_MS = 1_000_000;
const EXPECTED_KINDS: ReadonlySet<KvErrorKind> = new Set([
  "bucket_not_found",
  "key_not_found",
  "storage_exhausted",
]);

/**
 * How long a read is repeated for callers that share it, and for feeds: as long as a call may take by default (`callTimeoutMsMax`). A caller
 * with an earlier deadline stops waiting then.
 */
const SHARED_READ_TIMEOUT_MS = 60_000;
/** For deleting a consumer, which is not repeated: the server deletes it when it is not used. */
const DELETE_TIMEOUT_MS = 2_000;
/** What a list of sequences may grow by while it is asked for, and the stream's configuration. */
const SPARE_BYTES = 65_536;
const UNLIMITED: CallContext = { deadlineMs: Infinity, signal: new AbortController().signal };

interface CallOptions {
  readonly context: CallContext;
  /** Whether the request is idempotent: it is repeated while there is no answer. Default: false. */
  readonly isRead?: boolean;
  /** Where the answer may be large. */
  readonly answerBytesMax?: number;
}

/** Of a read for callers that share it, or for a watch. */
export function sharedContext(): CallContext {
  // With a signal of its own: many callers may listen at the same time.
  return { deadlineMs: performance.now() + SHARED_READ_TIMEOUT_MS, signal: new AbortController().signal };
}

/** Calls to JetStream about one bucket's stream. */
export class StreamApi {
  /** Of the answers that bring several messages. */
  readonly sizes = new AnswerSizes();
  private readonly deletions = new Set<Promise<void>>();

  constructor(
    readonly requests: Requests,
    readonly bucket: string,
    readonly stream: string,
    /** The largest message that the stream holds, in bytes. */
    readonly messageBytesMax: number,
  ) {}

  async state(context = sharedContext()): Promise<StreamState> {
    return stateOf(
      await this.call<TimedInfo>(`STREAM.INFO.${this.stream}`, undefined, { context, isRead: true }),
    );
  }

  /**
   * The state, and which sequences from the first to the last one are not stored; undefined: more than `max`. The server's list is exact, and
   * takes some 8 bytes for each.
   */
  async deletedSequences(
    max: number,
  ): Promise<{ readonly state: StreamState; readonly deleted: ReadonlySet<number> } | undefined> {
    const { firstSequence, lastSequence, messages } = await this.state();
    const count = lastSequence - firstSequence + 1 - messages;
    if (count > max) return undefined;
    const { state, ...info } = await this.call<StreamDetails>(
      `STREAM.INFO.${this.stream}`,
      { deleted_details: true },
      {
        ...{ context: sharedContext(), isRead: true },
        answerBytesMax: count * (String(lastSequence).length + 1) + SPARE_BYTES,
      },
    );
    return { state: stateOf({ ...info, state }), deleted: new Set(state.deleted ?? []) };
  }

  /** Tries until the context ends, by default for as long as a shared read: a leader that fails never responds. */
  createConsumer(config: object, context: CallContext = sharedContext()): Promise<ConsumerState> {
    const create = (attempt: AttemptContext): Promise<ConsumerState> => this.createOnce(config, attempt);
    return this.translated(() => untilAnswered(context, create, SLOW_ANSWER_GROWTH));
  }

  private async createOnce(config: object, context: AttemptContext): Promise<ConsumerState> {
    // Every attempt has its own name: an earlier one may still be made, and is deleted.
    const name = newConsumerName();
    const operation = `CONSUMER.CREATE.${this.stream}.${name}`;
    const request = { stream_name: this.stream, action: "create", config: { name, ...config } };
    try {
      const info = await askJetStream<ConsumerInfo>(this.requests, operation, request, context);
      return { name, startsAfter: info.delivered.stream_seq, pending: info.num_pending ?? 0 };
    } catch (error) {
      // It may have been made and only the answer lost.
      void this.deleteConsumer(name);
      throw error;
    }
  }

  /** Where a consumer would begin and how much it would deliver: it is made and deleted. */
  async probeConsumer(start: object): Promise<ConsumerState> {
    const consumer = await this.createConsumer({
      ...start,
      ack_policy: "none",
      replay_policy: "instant",
      inactive_threshold: 1e9,
      mem_storage: true,
      num_replicas: 1,
    });
    await this.deleteConsumer(consumer.name);
    return consumer;
  }

  /** Without the connection, the server drops the consumer by itself: it is made to live a few seconds without us. */
  async deleteConsumer(name: string): Promise<void> {
    const ignore = (): void => undefined;
    const context = within(UNLIMITED, DELETE_TIMEOUT_MS);
    const operation = `CONSUMER.DELETE.${this.stream}.${name}`;
    const deletion = this.call(operation, undefined, { context }).then(ignore, ignore);
    this.deletions.add(deletion);
    await deletion;
    this.deletions.delete(deletion);
  }

  /** Resolves when every deletion of a consumer that was begun is over. */
  async settled(): Promise<void> {
    await Promise.all(this.deletions);
  }

  /** The sequence of the first message at or after `sequence` on a subject or wildcard, as the leader knows it; undefined: none. */
  async nextSequence(subject: string, sequence: number): Promise<number | undefined> {
    return (await this.message({ next_by_subj: subject, seq: sequence }))?.sequence;
  }

  /** The message of this sequence, as the leader knows it; undefined: it is not stored. */
  messageAt(sequence: number): Promise<StoredAt | undefined> {
    return this.message({ seq: sequence });
  }

  /** The newest message of a subject, as the leader knows it; undefined: none. */
  newestOf(subject: string): Promise<StoredAt | undefined> {
    return this.message({ last_by_subj: subject });
  }

  private async message(query: object): Promise<StoredAt | undefined> {
    try {
      const { message } = await this.call<{
        readonly message: { readonly seq: number; readonly time: string };
      }>(`STREAM.MSG.GET.${this.stream}`, query, {
        context: sharedContext(),
        isRead: true,
        answerBytesMax: inBase64(this.messageBytesMax),
      });
      return { sequence: message.seq, atNanos: nanosOf(message.time) };
    } catch (error) {
      if (error instanceof KvError && error.kind === "key_not_found") return undefined;
      throw error;
    }
  }

  private call<Answer>(
    operation: string,
    body: object | undefined,
    { context, isRead = false, answerBytesMax }: CallOptions,
  ): Promise<Answer> {
    const answer = answerBytesMax === undefined ? undefined : { bytesMax: answerBytesMax };
    const ask = isRead ? readJetStream : askJetStream;
    return this.translated(() => ask<Answer>(this.requests, operation, body, context, answer));
  }

  private async translated<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    const about = { bucket: this.bucket };
    try {
      return await ask();
    } catch (cause) {
      if (cause instanceof KvError) throw cause;
      if (!(cause instanceof JetStreamError)) throw unavailable(about, cause);
      // Other refusals pass: the server is starting, has no leader, or is not what it was when this was written.
      throw EXPECTED_KINDS.has(kindOf(cause)) ? toKvError(cause, about) : unavailable(about, cause);
    }
  }
}

type TimedInfo = StreamInfo & { readonly ts?: string };

interface StreamDetails extends TimedInfo {
  readonly state: StreamInfo["state"] & { readonly deleted?: readonly number[] | null };
}

function stateOf({ created, config, state, ts }: TimedInfo): StreamState {
  return {
    created,
    createdAtMs: Date.parse(created),
    messages: state.messages,
    subjects: state.num_subjects ?? 0,
    firstSequence: state.first_seq,
    lastSequence: state.last_seq,
    lastStoredAtNanos: nanosOf(state.last_ts),
    history: config.max_msgs_per_subject ?? 1,
    ageMsMax: (config.max_age ?? 0) / NANOS_PER_MS,
    markerMs: mayExpire(config) ? (config.subject_delete_marker_ttl ?? 0) / NANOS_PER_MS : 0,
    compactedTo: compactedTo(config),
    nowMs: ts === undefined ? Date.now() : Date.parse(ts),
    republish: config.republish,
  };
}

/**
 * Whether entries of the stream are known to expire. Buckets of ours without a ttl have markers only for entries that another program gives
 * a lifetime: a watch that resumes after the marker's life may miss such an expiry (docs/durability.md).
 */
function mayExpire({ max_age, metadata }: StreamConfig): boolean {
  return (max_age ?? 0) > 0 || metadata?.[CREATION_ID_KEY] === undefined;
}

function nanosOf(time: string): bigint {
  const { ms, nanos } = parseTimestamp(time);
  return BigInt(ms) * BigInt(NANOS_PER_MS) + BigInt(nanos);
}

/** A name that no other consumer has. */
function newConsumerName(): string {
  const inbox = createInbox();
  return `watch-${inbox.slice(inbox.lastIndexOf(".") + 1)}`;
}

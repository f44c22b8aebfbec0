/** The few JetStream API calls that watches need, with answers checked and failures as `KvError`. */
import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import { KvError } from "../../kv/errors.js";

/** What a stream is and holds, as its leader knows it. Sequences are safe integers: 2^53 writes take centuries. */
export interface StreamState {
  /** When it was made, as the server wrote it: tells two streams of one name apart. */
  readonly created: string;
  readonly createdAtMs: number;
  readonly messages: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Messages kept per subject. */
  readonly history: number;
  /** How long messages live; 0: for ever. */
  readonly ageMsMax: number;
  /** How long the marker that an expired message leaves behind lives; 0: none is left. */
  readonly markerMs: number;
  /** The server's time. */
  readonly nowMs: number;
}

/** What the server says of a consumer it made. */
export interface ConsumerState {
  /** The stream's messages up to here come before the consumer's first. */
  readonly startsAfter: number;
  /** Messages it had to deliver when it was made. */
  readonly pending: number;
}

/** Time for one answer. Short: the callers try again. */
const ANSWER_TIMEOUT_MS = 2_000;

/** JetStream error codes that say that a limit of the account or server is reached. */
const EXHAUSTED_CODES = new Set([10002, 10023, 10026, 10027, 10028, 10047, 10122, 10167]);
const STREAM_NOT_FOUND = 10059;
const MESSAGE_NOT_FOUND = 10037;

/** Calls to JetStream about one bucket's stream. */
export class StreamApi {
  private readonly deletions = new Set<Promise<void>>();

  constructor(
    private readonly connection: NatsConnection,
    /** Whether the connection is up; when it is not, calls fail at once rather than wait out their time. */
    private readonly isConnected: () => boolean,
    readonly bucket: string,
    readonly stream: string,
  ) {}

  async state(): Promise<StreamState> {
    const answer = await this.call(`STREAM.INFO.${this.stream}`, undefined);
    const config = record(answer["config"]);
    const state = record(answer["state"]);
    const created = typeof answer["created"] === "string" ? answer["created"] : "";
    return {
      created,
      createdAtMs: Date.parse(created),
      messages: count(state["messages"]),
      firstSequence: count(state["first_seq"]),
      lastSequence: count(state["last_seq"]),
      history: count(config["max_msgs_per_subject"]),
      ageMsMax: count(config["max_age"]) / 1e6,
      markerMs: count(config["subject_delete_marker_ttl"]) / 1e6,
      nowMs: typeof answer["ts"] === "string" ? Date.parse(answer["ts"]) : Date.now(),
    };
  }

  async createConsumer(name: string, config: object): Promise<ConsumerState> {
    try {
      const answer = await this.call(`CONSUMER.CREATE.${this.stream}.${name}`, {
        stream_name: this.stream,
        action: "create",
        config: { name, ...config },
      });
      return {
        startsAfter: count(record(answer["delivered"])["stream_seq"]),
        pending: count(answer["num_pending"]),
      };
    } catch (error) {
      // It may have been made and only the answer lost.
      void this.deleteConsumer(name);
      throw error;
    }
  }

  /** Where a consumer would begin and how much it would deliver: it is made and deleted. */
  async probeConsumer(start: object): Promise<ConsumerState> {
    const name = newConsumerName();
    const consumer = await this.createConsumer(name, {
      ...start,
      ack_policy: "none",
      replay_policy: "instant",
      inactive_threshold: 1e9,
      mem_storage: true,
      num_replicas: 1,
    });
    await this.deleteConsumer(name);
    return consumer;
  }

  /** Without the connection, the server drops the consumer by itself: it is made to live a few seconds without us. */
  async deleteConsumer(name: string): Promise<void> {
    const deletion = this.call(`CONSUMER.DELETE.${this.stream}.${name}`, undefined).then(
      () => undefined,
      () => undefined,
    );
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
    const answer = await this.call(
      `STREAM.MSG.GET.${this.stream}`,
      { next_by_subj: subject, seq: sequence },
      [MESSAGE_NOT_FOUND],
    );
    return answer["error"] === undefined ? count(record(answer["message"])["seq"]) : undefined;
  }

  /** Whether the message of this sequence is still stored, as the leader knows it. */
  async hasMessage(sequence: number): Promise<boolean> {
    const answer = await this.call(`STREAM.MSG.GET.${this.stream}`, { seq: sequence }, [MESSAGE_NOT_FOUND]);
    return answer["error"] === undefined;
  }

  private async call(
    subject: string,
    body: object | undefined,
    expectedErrors: readonly number[] = [],
  ): Promise<Record<string, unknown>> {
    if (!this.isConnected()) throw unavailable(this.bucket, undefined);
    let answer: Record<string, unknown>;
    try {
      const message = await this.connection.request(
        `$JS.API.${subject}`,
        body === undefined ? "" : JSON.stringify(body),
        { timeout: ANSWER_TIMEOUT_MS },
      );
      answer = record(message.json<unknown>());
    } catch (cause) {
      throw unavailable(this.bucket, cause);
    }
    if (answer["error"] === undefined) return answer;
    const code = count(record(answer["error"])["err_code"]);
    if (expectedErrors.includes(code)) return answer;
    throw this.failure(code, answer["error"]);
  }

  private failure(code: number, cause: unknown): KvError {
    if (code === STREAM_NOT_FOUND) return bucketNotFound(this.bucket);
    if (EXHAUSTED_CODES.has(code)) {
      return new KvError("storage_exhausted", "The storage has no room for one more watch.", {
        bucket: this.bucket,
        cause,
      });
    }
    return unavailable(this.bucket, cause);
  }
}

/** A name that no other consumer has. */
export function newConsumerName(): string {
  const inbox = createInbox();
  return `watch-${inbox.slice(inbox.lastIndexOf(".") + 1)}`;
}

export function bucketNotFound(bucket: string): KvError {
  return new KvError("bucket_not_found", `There is no bucket "${bucket}".`, { bucket });
}

function unavailable(bucket: string, cause: unknown): KvError {
  return new KvError("unavailable", "The storage can't be reached at the moment; try again.", {
    bucket,
    cause,
  });
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function count(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

/** Reads single messages of a bucket: the newest of a key, or the one at a revision. */
import { bucketNotFound, JetStreamError, JetStreamCode, toKvError, unavailable } from "./errors.js";
import {
  LEADER_ANSWER_TIMEOUT_MS,
  readJetStream,
  type StreamInfo,
  streamInfo,
  untilAnswered,
  within,
} from "./jetstream-api.js";
import { Leadership } from "./leader-lease.js";
import { HeaderBlock, type HeaderLookup } from "./messages.js";
import { type Reply, type Requests, Unanswered } from "./requests.js";
import { parseTimestamp } from "./timestamps.js";
import type { KvErrorFacts } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import type { CallScope, Consistency } from "../../kv/store.js";

/** A message as it is stored. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: bigint;
  readonly timeMs: number;
  readonly timeNanos: number;
  readonly headers: HeaderLookup;
  readonly data: Uint8Array;
}

/** Where a bucket's messages are. */
export interface Place {
  readonly bucket: string;
  readonly stream: string;
}

/** Reads messages, each time seeing every write acknowledged before, unless `eventual` says otherwise. Throws `KvError`. */
export class MessageReader {
  private readonly leadership: Leadership;
  /** By stream: the size of the largest message seen, where it is more than the service writes. */
  private readonly largerMessages = new Map<string, number>();

  constructor(
    private readonly requests: Requests,
    /** On a cluster a direct get may be answered by a replica that lags: only its leader has seen every write. */
    private readonly isClustered: boolean,
    /** The largest message that a bucket holds, unless another program wrote it: {@link storedMessageBytesMax}. */
    private readonly storedMessageBytesMax: number,
    /** Over another connection: takes reads for which the first one's budget has no room. Default: they wait. */
    private readonly overflow?: Requests,
  ) {
    this.leadership = new Leadership(requests);
  }

  /** What is known of the stream; sees every write acknowledged before. Throws `bucket_not_found` where there is none. */
  stream(place: Place, scope: CallScope): Promise<StreamInfo> {
    return this.isClustered ? this.leadership.info(place, scope) : existing(this.requests, place, scope);
  }

  /** The newest message of a subject; undefined when there is none. */
  newest(
    place: Place,
    subject: string,
    scope: CallScope,
    consistency: Consistency = "strong",
  ): Promise<StoredMessage | undefined> {
    if (this.asksLeader(consistency)) return this.fromLeader(place, { last_by_subj: subject }, scope);
    const request = `$JS.API.DIRECT.GET.${place.stream}.${subject}`;
    return this.direct(place, request, "", { last_by_subj: subject }, scope);
  }

  /** The message of a sequence; undefined when it is not stored. */
  at(
    place: Place,
    sequence: bigint,
    scope: CallScope,
    consistency: Consistency = "strong",
  ): Promise<StoredMessage | undefined> {
    // JSON numbers beyond 2^53: nothing is stored there, and JetStream's are int64.
    if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) return Promise.resolve(undefined);
    const body = { seq: Number(sequence) };
    if (this.asksLeader(consistency)) return this.fromLeader(place, body, scope);
    return this.direct(place, `$JS.API.DIRECT.GET.${place.stream}`, JSON.stringify(body), body, scope);
  }

  /** The first message of a subject from a sequence on, by the stream's leader. */
  next(place: Place, subject: string, from: bigint, scope: CallScope): Promise<StoredMessage | undefined> {
    return this.fromLeader(place, { seq: Number(from), next_by_subj: subject }, scope);
  }

  private asksLeader(consistency: Consistency): boolean {
    return this.isClustered && consistency === "strong";
  }

  private async direct(
    place: Place,
    request: string,
    body: string,
    leaderBody: object,
    scope: CallScope,
  ): Promise<StoredMessage | undefined> {
    let reply: Reply | undefined;
    let failure: unknown;
    try {
      reply = await this.askAnyCopy(place, request, body === "" ? NO_BYTES : Buffer.from(body), scope);
      this.noteSize(place, reply.data.length);
    } catch (error) {
      failure = error;
    }
    if (reply === undefined) {
      if (!isNoResponders(failure)) throw toKvError(failure, { bucket: place.bucket });
      // Either there is no such stream, or one that another program made without direct gets, or JetStream is starting.
      if (await this.allowsDirect(place, scope)) throw unavailable({ bucket: place.bucket }, failure);
      return this.fromLeader(place, leaderBody, scope);
    }
    if (reply.status === 0) return messageOf(reply.headers, reply.data);
    if (reply.status === NOT_FOUND_STATUS) return undefined;
    throw toKvError(new JetStreamError(reply.status, reply.headers.text.split("\r\n", 1)[0] ?? ""), {
      bucket: place.bucket,
    });
  }

  /** The replica may be partitioned or down: retry until another answers. */
  private askAnyCopy(place: Place, request: string, payload: Uint8Array, scope: CallScope): Promise<Reply> {
    const bytesMax = this.answerBytesMax(place);
    const ask = (within: CallScope): Promise<Reply> =>
      this.requestsFor(bytesMax).one(request, payload, undefined, within, within.deadlineMs, bytesMax);
    return this.isClustered ? untilAnswered(scope, ask) : ask(scope);
  }

  private requestsFor(answerBytes: number): Requests {
    const { requests, overflow } = this;
    if (overflow?.isConnected !== true || requests.link.unread.canReserve(answerBytes)) return requests;
    return overflow.link.unread.hasSpareRoom(answerBytes) ? overflow : requests;
  }

  private answerBytesMax({ stream }: Place): number {
    return this.largerMessages.get(stream) ?? this.storedMessageBytesMax;
  }

  /** Another program may store larger messages than the service does: further answers are reserved by the largest one seen. */
  private noteSize(place: Place, bytes: number): void {
    if (bytes + MESSAGE_OVERHEAD_BYTES <= this.answerBytesMax(place)) return;
    if (this.largerMessages.size >= STREAMS_MAX) this.largerMessages.clear();
    this.largerMessages.set(place.stream, bytes + MESSAGE_OVERHEAD_BYTES);
  }

  private async fromLeader(place: Place, body: object, scope: CallScope): Promise<StoredMessage | undefined> {
    if (!this.isClustered) return this.fromOneLeader(place, body, scope);
    for (;;) {
      const untilMs = await this.leadership.goodUntilMs(place, scope);
      const message = await this.fromOneLeader(place, body, scope);
      if (performance.now() < untilMs) return message;
    }
  }

  private async fromOneLeader(
    place: Place,
    body: object,
    scope: CallScope,
  ): Promise<StoredMessage | undefined> {
    try {
      const bytesMax = inBase64(this.answerBytesMax(place));
      const { message } = await readJetStream<{ readonly message: LeaderMessage }>(
        this.requestsFor(bytesMax),
        `STREAM.MSG.GET.${place.stream}`,
        body,
        scope,
        bytesMax,
      );
      const time = parseTimestamp(message.time);
      return {
        subject: message.subject,
        sequence: BigInt(message.seq),
        timeMs: time.ms,
        timeNanos: time.nanos,
        headers: new HeaderBlock(
          message.hdrs === undefined ? "" : Buffer.from(message.hdrs, "base64").toString("latin1"),
        ),
        data: message.data === undefined ? NO_BYTES : Buffer.from(message.data, "base64"),
      };
    } catch (error) {
      if (error instanceof JetStreamError && error.code === JetStreamCode.messageNotFound) return undefined;
      throw toKvError(error, { bucket: place.bucket });
    }
  }

  private async allowsDirect(place: Place, scope: CallScope): Promise<boolean> {
    return (await existing(this.requests, place, scope)).config.allow_direct === true;
  }
}

/** What is known of a stream. Throws `bucket_not_found` where it does not exist. */
export async function existing(
  requests: Requests,
  place: Place,
  scope: CallScope,
): ReturnType<typeof streamInfo> {
  try {
    return await streamInfo(requests, place.stream, scope);
  } catch (error) {
    throw toKvError(error, { bucket: place.bucket });
  }
}

/** The failure behind "no responders": the bucket does not exist, or the storage is not ready. */
export async function whyNoResponders(
  requests: Requests,
  place: Place,
  scope: CallScope,
  facts: KvErrorFacts,
): Promise<Error> {
  try {
    await streamInfo(requests, place.stream, within(scope, LEADER_ANSWER_TIMEOUT_MS));
    return unavailable(facts);
  } catch (error) {
    const known = toKvError(error, facts);
    return known.kind === "bucket_not_found" ? bucketNotFound(place.bucket) : unavailable(facts, error);
  }
}

export function isNoResponders(error: unknown): boolean {
  return error instanceof Unanswered && error.reason === "no_responders";
}

/** A message from the answer to a direct get: the server adds what it knows of it as headers (ADR-31). */
export function messageOf(headers: HeaderBlock, data: Uint8Array): StoredMessage {
  const time = parseTimestamp(headers.last("Nats-Time-Stamp"));
  return {
    subject: headers.last("Nats-Subject"),
    sequence: BigInt(headers.last("Nats-Sequence")),
    timeMs: time.ms,
    timeNanos: time.nanos,
    headers,
    data,
  };
}

interface LeaderMessage {
  readonly subject: string;
  readonly seq: number;
  readonly hdrs?: string;
  readonly data?: string;
  readonly time: string;
}

/** The largest message of a bucket, headers included, in bytes. The service writes no larger one. */
export function storedMessageBytesMax(limits: Pick<Limits, "valueBytesMax">): number {
  return limits.valueBytesMax + MESSAGE_OVERHEAD_BYTES;
}

/** How large the answer of a stream's leader is, which has the message in base64. */
export function inBase64(messageBytes: number): number {
  return Math.ceil((messageBytes * 4) / 3);
}

/** What a message has beside the value: headers, and the subject several times. */
const MESSAGE_OVERHEAD_BYTES = 16_384;
const STREAMS_MAX = 10_000;
const NO_BYTES = new Uint8Array(0);
const NOT_FOUND_STATUS = 404;

/** Reads single messages of a bucket: the newest one of a key, or the one at a revision. */
import { AnswerSizes } from "./answer-sizes.js";
import { bucketNotFound, JetStreamError, JetStreamCode, toKvError, unavailable } from "./errors.js";
import {
  LEADER_ANSWER_TIMEOUT_MS,
  readJetStream,
  SLOW_ANSWER_GROWTH,
  type StreamInfo,
  streamInfo,
  untilAnswered,
  within,
} from "./jetstream-api.js";
import { LeaderLease } from "./leader-lease.js";
import type { ExpectedReply } from "./link.js";
import { HeaderBlock, type HeaderLookup } from "./messages.js";
import { type AttemptContext, type Reply, type Requests, NoReplyError } from "./requests.js";
import { parseTimestamp } from "./timestamps.js";
import type { KvErrorDetails } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Consistency } from "../../kv/reads.js";

/** A stored message. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: bigint;
  readonly timeMs: number;
  readonly timeNanos: number;
  readonly headers: HeaderLookup;
  readonly data: Uint8Array;
}

/** A bucket and the stream that stores it. */
export interface Place {
  readonly bucket: string;
  readonly stream: string;
}

/** Reads messages. A read sees every write that was acknowledged before it, unless it is `eventual`. Throws `KvError`. */
export class MessageReader {
  private readonly leaderLease: LeaderLease;
  private readonly sizes = new AnswerSizes();

  constructor(
    private readonly requests: Requests,
    /** On a cluster, a replica that lags may answer a direct get; only the leader has every write. */
    readonly isClustered: boolean,
    /** The largest message of a bucket, unless another program wrote it: see {@link storedMessageBytesMax}. */
    private readonly storedMessageBytesMax: number,
    /** Another connection, for reads of streams with large messages, and those that exceed the first one's byte budget. Default: they wait. */
    private readonly overflow?: Requests,
  ) {
    this.leaderLease = new LeaderLease(requests);
  }

  /** The stream's info, which includes every write acknowledged before. Throws `bucket_not_found`. */
  stream(place: Place, context: CallContext): Promise<StreamInfo> {
    return this.isClustered ? this.leaderLease.info(place, context) : existing(this.requests, place, context);
  }

  /** The newest message of a subject; undefined if there is none. */
  newest(
    place: Place,
    subject: string,
    context: CallContext,
    consistency: Consistency = "strong",
  ): Promise<StoredMessage | undefined> {
    if (this.needsLeader(consistency)) return this.fromLeader(place, { last_by_subj: subject }, context);
    const request = `$JS.API.DIRECT.GET.${place.stream}.${subject}`;
    return this.direct(place, request, "", { last_by_subj: subject }, context);
  }

  /** The newest message of the subjects that a subject with wildcards matches; undefined if there is none. */
  newestMatching(place: Place, subject: string, context: CallContext): Promise<StoredMessage | undefined> {
    const body = { last_by_subj: subject };
    if (this.needsLeader("strong")) return this.fromLeader(place, body, context);
    return this.direct(place, `$JS.API.DIRECT.GET.${place.stream}`, JSON.stringify(body), body, context);
  }

  /** The message at a sequence; undefined if it is not stored. */
  at(
    place: Place,
    sequence: bigint,
    context: CallContext,
    consistency: Consistency = "strong",
  ): Promise<StoredMessage | undefined> {
    // Not exact as a JSON number, and never stored.
    if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) return Promise.resolve(undefined);
    const body = { seq: Number(sequence) };
    if (this.needsLeader(consistency)) return this.fromLeader(place, body, context);
    return this.direct(place, `$JS.API.DIRECT.GET.${place.stream}`, JSON.stringify(body), body, context);
  }

  /** The first message of a subject at or after a sequence, read from the leader. */
  next(
    place: Place,
    subject: string,
    from: bigint,
    context: CallContext,
  ): Promise<StoredMessage | undefined> {
    return this.fromLeader(place, { seq: Number(from), next_by_subj: subject }, context);
  }

  private needsLeader(consistency: Consistency): boolean {
    return this.isClustered && consistency === "strong";
  }

  private async direct(
    place: Place,
    request: string,
    body: string,
    leaderBody: object,
    context: CallContext,
  ): Promise<StoredMessage | undefined> {
    let reply: Reply | undefined;
    let failure: unknown;
    try {
      reply = await this.fromAnyReplica(place, request, body === "" ? NO_BYTES : Buffer.from(body), context);
      this.sizes.note(place.stream, reply.data.length);
    } catch (error) {
      failure = error;
    }
    if (reply === undefined) {
      if (!isNoResponders(failure)) throw toKvError(failure, { bucket: place.bucket });
      // The stream does not exist, another program created it without direct gets, or its replicas are starting.
      await existing(this.requests, place, context);
      return this.fromLeader(place, leaderBody, context);
    }
    if (reply.status === 0) return messageOf(reply.headers, reply.data);
    if (reply.status === NOT_FOUND_STATUS) return undefined;
    throw toKvError(new JetStreamError(reply.status, reply.headers.text.split("\r\n", 1)[0] ?? ""), {
      bucket: place.bucket,
    });
  }

  /** The replica may be partitioned or down, or the connection lost: retry until another answers. */
  private fromAnyReplica(
    place: Place,
    request: string,
    payload: Uint8Array,
    context: CallContext,
  ): Promise<Reply> {
    const expected = this.expectedReply(place, 1);
    const ask = (attempt: AttemptContext): Promise<Reply> =>
      this.requestsFor(expected).one(request, payload, undefined, attempt, expected);
    if (this.isClustered) return untilAnswered(context, ask);
    return ask(context).catch((error: unknown) => {
      if (!(error instanceof NoReplyError) || error.reason !== "interrupted") throw error;
      return untilAnswered(context, ask, SLOW_ANSWER_GROWTH);
    });
  }

  private requestsFor({ bytesMax, bulkBytes }: ExpectedReply): Requests {
    const { requests, overflow } = this;
    if (overflow?.isConnected !== true) return requests;
    if (bulkBytes !== undefined) return overflow;
    if (requests.link.unread.canReserve(bytesMax)) return requests;
    return overflow.link.unread.hasSpareRoom(bytesMax) ? overflow : requests;
  }

  /** `factor`: the size of the reply relative to the message. Another program may have stored larger messages than the service does. */
  private expectedReply({ stream }: Place, factor: number): ExpectedReply {
    const largest = this.sizes.largest(stream) + MESSAGE_OVERHEAD_BYTES;
    const bytesMax = Math.ceil(Math.max(this.storedMessageBytesMax, largest) * factor);
    const bulkBytes = this.sizes.bulkBytes(stream);
    return { bytesMax, bulkBytes: bulkBytes === undefined ? undefined : bulkBytes * factor };
  }

  private async fromLeader(
    place: Place,
    body: object,
    context: CallContext,
  ): Promise<StoredMessage | undefined> {
    if (!this.isClustered) return this.getMessage(place, body, context);
    for (;;) {
      const expiresAtMs = await this.leaderLease.expiresAtMs(place, context);
      const message = await this.getMessage(place, body, context);
      if (performance.now() < expiresAtMs) return message;
    }
  }

  private async getMessage(
    place: Place,
    body: object,
    context: CallContext,
  ): Promise<StoredMessage | undefined> {
    try {
      const expected = this.expectedReply(place, BASE64_FACTOR);
      const { message } = await readJetStream<{ readonly message: LeaderMessage }>(
        this.requestsFor(expected),
        `STREAM.MSG.GET.${place.stream}`,
        body,
        context,
        expected,
      );
      const data = message.data === undefined ? NO_BYTES : Buffer.from(message.data, "base64");
      this.sizes.note(place.stream, data.length);
      const time = parseTimestamp(message.time);
      return {
        subject: message.subject,
        sequence: BigInt(message.seq),
        timeMs: time.ms,
        timeNanos: time.nanos,
        headers: new HeaderBlock(
          message.hdrs === undefined ? "" : Buffer.from(message.hdrs, "base64").toString("latin1"),
        ),
        data,
      };
    } catch (error) {
      if (error instanceof JetStreamError && error.code === JetStreamCode.messageNotFound) return undefined;
      throw toKvError(error, { bucket: place.bucket });
    }
  }
}

/** The stream's info. Throws `bucket_not_found`. */
export async function existing(
  requests: Requests,
  place: Place,
  context: CallContext,
): ReturnType<typeof streamInfo> {
  try {
    return await streamInfo(requests, place.stream, context);
  } catch (error) {
    throw toKvError(error, { bucket: place.bucket });
  }
}

/** The error for "no responders": the bucket does not exist, or the storage is not ready. */
export async function whyNoResponders(
  requests: Requests,
  place: Place,
  context: CallContext,
  facts: KvErrorDetails,
): Promise<Error> {
  try {
    await streamInfo(requests, place.stream, within(context, LEADER_ANSWER_TIMEOUT_MS));
    return unavailable(facts);
  } catch (error) {
    const known = toKvError(error, facts);
    return known.kind === "bucket_not_found" ? bucketNotFound(place.bucket) : unavailable(facts, error);
  }
}

export function isNoResponders(error: unknown): boolean {
  return error instanceof NoReplyError && error.reason === "no_responders";
}

/** The message in a direct get's reply. The server adds its subject, sequence and time as headers (ADR-31). */
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

/** The largest message that the service writes, including headers, in bytes. */
export function storedMessageBytesMax(limits: Pick<Limits, "valueBytesMax">): number {
  return limits.valueBytesMax + MESSAGE_OVERHEAD_BYTES;
}

/** The size of a message in base64, as in the leader's JSON response. */
export function inBase64(messageBytes: number): number {
  return Math.ceil(messageBytes * BASE64_FACTOR);
}

/** The bytes of a message besides its value: headers, and several copies of the subject. */
const MESSAGE_OVERHEAD_BYTES = 16_384;
const BASE64_FACTOR = 4 / 3;
const NO_BYTES = new Uint8Array(0);
const NOT_FOUND_STATUS = 404;

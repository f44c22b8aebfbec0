/**
 * Direct gets of the newest messages of some keys up to a sequence, without a consumer (ADR-31). Any copy of the stream may answer, also
 * one that lags behind; a stream that another program made may not allow them at all.
 */
import type { CallContext } from "../../kv/call-context.js";
import { SMALL_BYTES_MAX } from "../client/answer-sizes.js";
import { SLOW_ANSWER_GROWTH, untilAnswered } from "../client/jetstream-api.js";
import type { ExpectedReply } from "../client/link.js";
import { type AttemptContext, type Reply, NoReplyError } from "../client/requests.js";
import { parseTimestamp } from "../client/timestamps.js";
import type { StreamApi } from "./stream-api.js";
import { Change } from "./delivery.js";

/** What to get: the newest message of each subject that matches one of the filters. */
export interface DirectQuery {
  readonly multi_last: readonly string[];
  /** Newest as of this sequence. Default: the stream's last. Where it is an older one, the server searches the stream for it. */
  readonly up_to_seq?: number;
  readonly batch: number;
  /** The server ends its answer with the message that reaches this. */
  readonly max_bytes?: number;
}

export interface DirectAnswer {
  /** In the order of sequences. */
  readonly changes: readonly Change[];
  /** Whether there are more than these. */
  readonly isCut: boolean;
}

/** Refused: more subjects match than the server answers for, direct gets are not allowed, or the storage is damaged. */
export class DirectRefused extends Error {
  constructor(
    /** 413: too many; 503: nobody answers such requests, now or ever; 404: a message could not be read. */
    readonly status: number,
  ) {
    super(`status ${status}`);
  }
}

/** A message of the answer was lost on its way. */
export class DirectGap extends Error {
  constructor() {
    super("the answer has a gap");
  }
}

/** How long a request without an answer is repeated. The caller retries after that. */
const TIMEOUT_MS = 10_000;
const NO_RESPONDERS = 503;
const END_OF_BATCH = 204;
const NOTHING = 404;
/** How the description of that status begins where a message that matches could not be read (`getDirectMulti` in stream.go of 2.15.1). */
const UNREADABLE = "Message";
/** What the server adds to each message: headers, and the subject again. */
const MESSAGE_OVERHEAD_BYTES = 2_048;
const NEVER_ABORTED = new AbortController().signal;

export interface DirectOptions {
  /** Default: a few seconds, as several callers may share the answer. */
  readonly context?: CallContext;
  /** The probable size of the answer, where the caller knows it. Default: as the last answers of the stream were. */
  readonly expectedBytes?: number;
}

/** Takes one message of an answer. */
export type AcceptMessage = (message: Reply, sequence: number) => void;

/** Asks; throws {@link DirectRefused}, or another error when the answer does not come or has a gap. */
export async function directGet(
  api: StreamApi,
  subjectPrefix: string,
  query: DirectQuery,
  options: DirectOptions = {},
): Promise<DirectAnswer> {
  let changes: Change[] = [];
  const begin = (): AcceptMessage => {
    changes = [];
    return (message, sequence) => changes.push(changeOf(message, sequence, subjectPrefix));
  };
  const isCut = await directGetMessages(api, query, begin, options);
  return { changes, isCut };
}

/**
 * The same, without changes. `begin` is called when an answer begins, and what it returns with each of its messages: an answer that is interrupted
 * is asked for again. Returns whether there are more.
 */
export async function directGetMessages(
  api: StreamApi,
  query: DirectQuery,
  begin: () => AcceptMessage,
  options: DirectOptions = {},
): Promise<boolean> {
  const bytesMax = (query.max_bytes ?? 0) + api.messageBytesMax + query.batch * MESSAGE_OVERHEAD_BYTES;
  const bulkBytes = bulkBytesOf(api, options);
  const context = options.context ?? { deadlineMs: performance.now() + TIMEOUT_MS, signal: NEVER_ABORTED };
  const payload = Buffer.from(JSON.stringify(query));
  const ask = (attempt: AttemptContext): Promise<Answer> =>
    askOnce(api, payload, attempt, { bytesMax, bulkBytes }, begin());
  const { end, received, last } = await untilAnswered(context, ask, SLOW_ANSWER_GROWTH).catch(
    (error: unknown) => {
      const isRefused = error instanceof NoReplyError && error.reason === "no_responders";
      throw isRefused ? new DirectRefused(NO_RESPONDERS) : error;
    },
  );
  api.sizes.note(api.stream, received);
  if (end.status === NOTHING) {
    // The same status says that a message could not be read: the others are not all.
    if (last > 0 || end.headers.description.startsWith(UNREADABLE)) throw new DirectRefused(NOTHING);
    return false;
  }
  if (end.status !== END_OF_BATCH) throw new DirectRefused(end.status);
  // The end names the last sequence that was sent: a message that got lost on the way shows here.
  if (Number(end.headers.last("Nats-Last-Sequence")) !== last) throw new DirectGap();
  return end.headers.last("Nats-Num-Pending") !== "0";
}

function bulkBytesOf({ sizes, stream }: StreamApi, { expectedBytes }: DirectOptions): number | undefined {
  if (expectedBytes === undefined) return sizes.bulkBytes(stream);
  return expectedBytes > SMALL_BYTES_MAX ? expectedBytes : undefined;
}

interface Answer {
  /** The status. */
  readonly end: Reply;
  /** Bytes of the messages before it. */
  readonly received: number;
  /** The sequence of the last of them; 0: there was none. */
  readonly last: number;
}

async function askOnce(
  { requests, stream }: StreamApi,
  payload: Uint8Array,
  attempt: AttemptContext,
  expected: ExpectedReply,
  accept: AcceptMessage,
): Promise<Answer> {
  let [received, last] = [0, 0];
  const subject = `$JS.API.DIRECT.GET.${stream}`;
  const end = await requests.many(subject, payload, attempt, expected, (reply) => {
    if (reply.status !== 0) return reply;
    received += reply.data.length;
    // What the server adds to a message's headers comes after what its writer gave: the last of each name counts.
    last = Number(reply.headers.last("Nats-Sequence"));
    accept(reply, last);
    return undefined;
  });
  return { end, received, last };
}

export function changeOf({ headers, data }: Reply, streamSequence: number, subjectPrefix: string): Change {
  const time = parseTimestamp(headers.last("Nats-Time-Stamp"));
  const storedKey = headers.last("Nats-Subject").slice(subjectPrefix.length);
  return new Change({ headers, data }, storedKey, {
    streamSequence,
    consumerSequence: 0,
    timeMs: time.ms,
    timeNanos: time.nanos,
    pending: 0,
  });
}

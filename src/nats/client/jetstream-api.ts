/** JetStream's JSON API: a request and a JSON response. Error responses are thrown as {@link JetStreamError}. */
import { setTimeout as delay } from "node:timers/promises";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import { KvError } from "../../kv/errors.js";
import { JetStreamCode, JetStreamError } from "./errors.js";
import type { ExpectedReply } from "./link.js";
import { type AttemptContext, type Requests, NoReplyError } from "./requests.js";

/** The fields of a stream's configuration that are used here. Updates must preserve all others. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects?: readonly string[];
  readonly description?: string;
  readonly max_msgs_per_subject?: number;
  /** Nanoseconds. */
  readonly max_age?: number;
  readonly max_msgs?: number;
  readonly discard?: string;
  readonly max_bytes?: number;
  readonly max_msg_size?: number;
  readonly num_replicas?: number;
  /** Nanoseconds. */
  readonly duplicate_window?: number;
  readonly storage?: "file" | "memory";
  /** `async`: writes are acknowledged before they are on disk. */
  readonly persist_mode?: string;
  readonly allow_direct?: boolean;
  readonly allow_msg_ttl?: boolean;
  /** Whether the stream accepts atomic batches (ADR-50). */
  readonly allow_atomic?: boolean;
  readonly allow_rollup_hdrs?: boolean;
  /** Nanoseconds. */
  readonly subject_delete_marker_ttl?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly republish?: { readonly src?: string; readonly dest: string; readonly headers_only?: boolean };
}

export interface StreamInfo {
  /** The unparsed creation time. It distinguishes a stream from a recreated one with the same name. */
  readonly created: string;
  /** The server's clock when it responded. */
  readonly ts?: string;
  readonly config: StreamConfig;
  /** Absent if the server is not part of a cluster. */
  readonly cluster?: {
    readonly leader?: string;
    /** The followers. `active`: nanoseconds since the leader last heard from it. */
    readonly replicas?: readonly { readonly active: number }[];
  };
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_seq: number;
    readonly first_ts?: string;
    readonly last_seq: number;
    /** When the last message was stored. */
    readonly last_ts: string;
    readonly num_subjects?: number;
  };
}

/** The server's clock when it responded, in milliseconds since 1970. */
export function serverTimeMs({ ts }: StreamInfo): number {
  return ts === undefined ? Date.now() : Date.parse(ts);
}

interface ErrorResponse {
  readonly err_code?: number;
  readonly code?: number;
  readonly description?: string;
}

const PREFIX = "$JS.API.";

/**
 * Sends a request and returns the response, whose type is `Answer`. `expected`: default: at most
 * `SMALL_ANSWER_BYTES`. Throws {@link JetStreamError} or `NoReplyError`.
 */
export async function askJetStream<Answer>(
  requests: Requests,
  operation: string,
  body: object | undefined,
  context: AttemptContext,
  expected?: ExpectedReply,
): Promise<Answer> {
  const payload = Buffer.from(body === undefined ? "" : JSON.stringify(body));
  const subject = PREFIX + operation;
  const reply = await requests.one(subject, payload, undefined, context, expected);
  return parseAnswer(reply.data) as Answer;
}

/** Parses a response. Throws {@link JetStreamError} for an error response. */
export function parseAnswer(data: Uint8Array): object {
  const answer: unknown = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString("utf8"));
  if (typeof answer !== "object" || answer === null)
    throw new TypeError("JetStream's response is not an object");
  if ("error" in answer && answer.error) {
    const { err_code, code, description } = answer.error as ErrorResponse;
    throw new JetStreamError(err_code ?? code ?? 0, description ?? "");
  }
  checkSequences(answer);
  return answer;
}

/** The fields of responses that contain sequences. */
interface Sequences {
  readonly seq?: number;
  readonly state?: { readonly first_seq?: number; readonly last_seq?: number };
  readonly message?: { readonly seq?: number };
}

/**
 * Throws `unimplemented` for sequences that JSON.parse would round. Only a stream that another program created with such a `first_seq`
 * has them.
 */
function checkSequences({ seq, state, message }: Sequences): void {
  const newest = Math.max(seq ?? 0, state?.first_seq ?? 0, state?.last_seq ?? 0, message?.seq ?? 0);
  if (newest <= Number.MAX_SAFE_INTEGER) return;
  throw new KvError(
    "unimplemented",
    "The bucket's revisions are above 9,007,199,254,740,991, which the service does not support; create its stream without first_seq.",
  );
}

/** Like {@link askJetStream}, for idempotent requests: retries, as a failed leader may never reply. */
export function readJetStream<Answer>(
  requests: Requests,
  operation: string,
  body: object | undefined,
  context: CallContext,
  expected?: ExpectedReply,
): Promise<Answer> {
  return untilAnswered(context, (attempt) =>
    askJetStream<Answer>(requests, operation, body, attempt, expected),
  );
}

/**
 * Removes messages of a stream, and returns how many. Idempotent, as `seq` spares what is written later: repeated until there is a response;
 * what an attempt without one removed is not counted. Throws {@link JetStreamError} or `NoReplyError`.
 */
export async function purgeStream(
  requests: Requests,
  stream: string,
  /** Only messages of subjects that match `filter`, and below `seq`. */
  range: { readonly filter?: string; readonly seq?: number },
  context: CallContext,
): Promise<number> {
  const ask = (attempt: AttemptContext): Promise<{ readonly purged?: number }> =>
    askJetStream(requests, `STREAM.PURGE.${stream}`, range, attempt);
  return (await untilAnswered(context, ask, SLOW_ANSWER_GROWTH)).purged ?? 0;
}

/**
 * Sends an idempotent request, and repeats it while there is no response, its connection is lost but NATS is available, or the cluster has no
 * leader. `growth`: how many times as long as the last attempt the next one waits: more than 1 where the server may need long.
 */
export async function untilAnswered<Answer>(
  context: CallContext,
  ask: (attempt: AttemptContext) => Promise<Answer>,
  growth = 1,
): Promise<Answer> {
  for (let timeMs = LEADER_ANSWER_TIMEOUT_MS; ;) {
    try {
      return await ask(attemptOf(context, timeMs));
    } catch (error) {
      const isSilent = error instanceof NoReplyError && error.reason === "deadline";
      const isInterrupted = error instanceof NoReplyError && error.reason === "interrupted";
      const isLeaderless =
        error instanceof JetStreamError && error.code === JetStreamCode.clusterNotAvailable;
      if (!(isSilent || isInterrupted || isLeaderless) || performance.now() >= context.deadlineMs)
        throw error;
      if (isLeaderless) await delay(LEADERLESS_PAUSE_MS);
      if (isSilent) timeMs *= growth;
    }
  }
}

/** How long to wait for a response before a retry: a cluster without a leader does not respond, or does so late. */
export const LEADER_ANSWER_TIMEOUT_MS = 1_000;
/** For `untilAnswered`: requests that change something, or that need time in proportion to the stream. */
export const SLOW_ANSWER_GROWTH = 2;
const LEADERLESS_PAUSE_MS = 100;

/** The context of one attempt, whose reply may take `answerTimeoutMs` after it was sent. */
function attemptOf(context: CallContext, answerTimeoutMs: number): AttemptContext {
  return {
    deadlineMs: context.deadlineMs,
    answerTimeoutMs,
    get signal() {
      return context.signal;
    },
    get isCanceled() {
      return context.isCanceled;
    },
    flow: flowOf(context),
  };
}

/** The context, with a deadline at most `timeMs` milliseconds from now. */
export function within(context: CallContext, timeMs: number): CallContext {
  return {
    deadlineMs: Math.min(context.deadlineMs, performance.now() + timeMs),
    // A getter, because creating the signal may be expensive.
    get signal() {
      return context.signal;
    },
    get isCanceled() {
      return context.isCanceled;
    },
    flow: flowOf(context),
  };
}

export function streamInfo(requests: Requests, stream: string, context: CallContext): Promise<StreamInfo> {
  return readJetStream<StreamInfo>(requests, `STREAM.INFO.${stream}`, undefined, context);
}

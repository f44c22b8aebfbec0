/** Which errors to retry, and changes of buckets with a known outcome. */
import { setTimeout as delay } from "node:timers/promises";
import { KvError, type KvErrorDetails } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import { JetStreamCode, JetStreamError, kindOf, outcomeUnknown, toKvError } from "./errors.js";
import { askJetStream, within } from "./jetstream-api.js";
import { type Requests, NoReplyError } from "./requests.js";

export const RETRY_WAIT_MS = 50;
/** Creating a stream on a cluster can take seconds. */
export const BUCKET_ANSWER_TIMEOUT_MS = 5_000;

/** Whether the cluster is still replicating a message with the same ID, so its outcome is not known yet. */
export function isUnderWay(error: unknown): boolean {
  return error instanceof JetStreamError && error.code === JetStreamCode.duplicateUnderWay;
}

/** Whether a retry may succeed: the storage is unreachable or starting, and the caller still waits. */
export function isRetryable(error: unknown, context: CallContext): boolean {
  if (performance.now() + RETRY_WAIT_MS >= context.deadlineMs || context.signal.aborted) return false;
  if (error instanceof NoReplyError || isUnderWay(error)) return true;
  if (error instanceof JetStreamError) return kindOf(error) === "unavailable";
  return error instanceof KvError && error.kind === "unavailable";
}

/** A change of a bucket through JetStream's API. */
export interface BucketRequest<Answer> {
  readonly operation: string;
  readonly body: object | undefined;
  /** Finds out whether an unanswered request was applied. Resolves with its result; undefined: it was not, send it again. */
  settle(): Promise<Answer | undefined>;
}

/** Sends the change until its outcome is known. Throws `KvError`: `outcome_unknown` if the context ends first. */
export async function changeBucket<Answer>(
  requests: Requests,
  request: BucketRequest<Answer>,
  about: KvErrorDetails,
  context: CallContext,
): Promise<Answer> {
  const { operation, body } = request;
  // Whether a request was sent and its outcome is unknown.
  for (let isUncertain = false; ;) {
    try {
      if (isUncertain) {
        await requests.untilConnected(context);
        const answer = await request.settle();
        if (answer !== undefined) return answer;
      }
      return await askJetStream<Answer>(requests, operation, body, within(context, BUCKET_ANSWER_TIMEOUT_MS));
    } catch (error) {
      isUncertain ||= error instanceof NoReplyError && error.sent;
      if (isUncertain && isRetryable(error, context)) {
        await delay(RETRY_WAIT_MS);
        continue;
      }
      const isRefusal = error instanceof JetStreamError && kindOf(error) !== "unavailable";
      const isKnown = !isUncertain || isRefusal || (error instanceof KvError && error.kind !== "unavailable");
      throw isKnown ? toKvError(error, about) : outcomeUnknown(about, error);
    }
  }
}

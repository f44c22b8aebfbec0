/** When to ask the storage again, and changes of buckets whose answer did not come. */
import { setTimeout as delay } from "node:timers/promises";
import { KvError, type KvErrorFacts } from "../../kv/errors.js";
import type { CallScope } from "../../kv/store.js";
import { JetStreamCode, JetStreamError, kindOf, outcomeUnknown, toKvError } from "./errors.js";
import { askJetStream, within } from "./jetstream-api.js";
import { type Requests, Unanswered } from "./requests.js";

export const RETRY_WAIT_MS = 50;
/** A cluster takes its time to make a bucket. */
export const BUCKET_ANSWER_TIMEOUT_MS = 5_000;

/** Whether a message with the same id is on its way into a cluster's log: then it is not known yet what becomes of it. */
export function isUnderWay(error: unknown): boolean {
  return error instanceof JetStreamError && error.code === JetStreamCode.duplicateUnderWay;
}

/** Whether the storage may answer yet: it is away or starting, and the caller still waits. */
export function isRetryable(error: unknown, scope: CallScope): boolean {
  if (performance.now() + RETRY_WAIT_MS >= scope.deadlineMs || scope.signal.aborted) return false;
  if (error instanceof Unanswered || isUnderWay(error)) return true;
  if (error instanceof JetStreamError) return kindOf(error) === "unavailable";
  return error instanceof KvError && error.kind === "unavailable";
}

/** A change of a bucket, as JetStream's API takes it. */
export interface BucketRequest<Answer> {
  readonly operation: string;
  readonly body: object | undefined;
  /** Looks what became of it, where it was not answered: its answer, or undefined where it is to be sent again. */
  settle(): Promise<Answer | undefined>;
}

/** Asks until the outcome is known. Throws `KvError`; `outcome_unknown` where the caller's time is over before that. */
export async function changeBucket<Answer>(
  requests: Requests,
  request: BucketRequest<Answer>,
  about: KvErrorFacts,
  scope: CallScope,
): Promise<Answer> {
  const { operation, body } = request;
  for (let isOpen = false; ;) {
    try {
      if (isOpen) {
        await requests.untilConnected(scope);
        const answer = await request.settle();
        if (answer !== undefined) return answer;
      }
      return await askJetStream<Answer>(requests, operation, body, within(scope, BUCKET_ANSWER_TIMEOUT_MS));
    } catch (error) {
      isOpen ||= error instanceof Unanswered && error.sent;
      if (isOpen && isRetryable(error, scope)) {
        await delay(RETRY_WAIT_MS);
        continue;
      }
      const isRefusal = error instanceof JetStreamError && kindOf(error) !== "unavailable";
      const isKnown = !isOpen || isRefusal || (error instanceof KvError && error.kind !== "unavailable");
      throw isKnown ? toKvError(error, about) : outcomeUnknown(about, error);
    }
  }
}

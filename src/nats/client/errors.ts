/** The one table from JetStream's error codes to the kinds that the rest of the service knows, and the sentences for them. */
import { KvError, type KvErrorFacts, type KvErrorKind } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";
import { Unanswered } from "./requests.js";

/** A refusal by JetStream, as it came. Never leaves `nats/`. */
export class JetStreamError extends Error {
  override readonly name = "JetStreamError";
  constructor(
    readonly code: number,
    readonly description: string,
  ) {
    super(`${code}: ${description}`);
  }
}

/** JetStream's codes that are asked for by name. */
export const JetStreamCode = {
  clusterNotAvailable: 10008,
  streamNotFound: 10059,
  messageNotFound: 10037,
  storeFailed: 10077,
  wrongLastSequence: 10071,
  wrongLastSequenceConstant: 10164,
  rollupFailed: 10111,
  duplicateUnderWay: 10158,
} as const;

const KIND_OF_CODE: ReadonlyMap<number, KvErrorKind> = new Map<number, KvErrorKind>([
  [JetStreamCode.streamNotFound, "bucket_not_found"],
  [JetStreamCode.messageNotFound, "key_not_found"],
  [10058, "bucket_exists"],
  [JetStreamCode.wrongLastSequence, "revision_mismatch"],
  [JetStreamCode.wrongLastSequenceConstant, "revision_mismatch"],
  [10054, "value_too_large"],
  [10097, "value_too_large"],
  // Memory, disk, streams, consumers, and what an account may have of them.
  [10002, "storage_exhausted"],
  [10023, "storage_exhausted"],
  [10026, "storage_exhausted"],
  [10027, "storage_exhausted"],
  [10028, "storage_exhausted"],
  [10047, "storage_exhausted"],
  [10122, "storage_exhausted"],
  [10167, "storage_exhausted"],
  // JetStream off, starting, without a leader or quorum, or with too few nodes that are known yet.
  [10004, "unavailable"],
  [10005, "unavailable"],
  [10006, "unavailable"],
  [10007, "unavailable"],
  [JetStreamCode.clusterNotAvailable, "unavailable"],
  [10009, "unavailable"],
  [10118, "unavailable"],
  [10119, "unavailable"],
]);

/** One code for every failure of the store itself: only its text tells a full bucket from a full disk. */
const BUCKET_FULL_TEXT = /maximum (bytes|messages)/;
const NO_SPACE_TEXT = /no space|insufficient|resources/i;
const DISK_FULL_TEXT = /no space left on device|disk quota exceeded/i;

/** The kind of a refusal; `internal` where the table does not know it. */
export function kindOf(error: JetStreamError): KvErrorKind {
  if (error.code === JetStreamCode.storeFailed) {
    if (BUCKET_FULL_TEXT.test(error.description)) return "bucket_full";
    return NO_SPACE_TEXT.test(error.description) ? "storage_exhausted" : "internal";
  }
  // JetStream passes on what the file system said of a stream that can't be made, under a code for every failure.
  return (
    KIND_OF_CODE.get(error.code) ??
    (DISK_FULL_TEXT.test(error.description) ? "storage_exhausted" : "internal")
  );
}

/** Any failure as a `KvError` with a sentence that says nothing of JetStream. What was thrown stays as the cause. */
export function toKvError(error: unknown, facts: KvErrorFacts): KvError {
  if (error instanceof KvError) return error;
  if (error instanceof Unanswered) {
    switch (error.reason) {
      case "deadline":
        return new KvError("deadline_exceeded", "The time for this call ran out.", facts);
      case "canceled":
        return new KvError("canceled", "The caller gave up.", facts);
      case "no_responders":
      case "disconnected":
        return unavailable(facts);
    }
  }
  if (error instanceof JetStreamError) {
    const kind = kindOf(error);
    return new KvError(kind, sentenceOf(kind, facts), { ...facts, cause: error });
  }
  return new KvError("internal", INTERNAL_SENTENCE, { ...facts, cause: error });
}

/** The outcome of a write that was sent is not known. */
export function outcomeUnknown(facts: KvErrorFacts, cause?: unknown): KvError {
  return new KvError(
    "outcome_unknown",
    "The change was sent, and whether it was applied is not known. Read before trying again.",
    { ...facts, cause },
  );
}

export function unavailable(facts: KvErrorFacts, cause?: unknown): KvError {
  return new KvError("unavailable", "The storage can't be reached at the moment. Try again.", {
    ...facts,
    cause,
  });
}

export function bucketNotFound(bucket: string): KvError {
  return new KvError("bucket_not_found", `There is no bucket ${quote(bucket)}.`, { bucket });
}

export function keyNotFound(bucket: string, key: string): KvError {
  return new KvError("key_not_found", `The key ${quote(key)} has no value in the bucket ${quote(bucket)}.`, {
    bucket,
    key,
  });
}

const INTERNAL_SENTENCE = "The storage failed in a way that the service did not expect.";

function sentenceOf(kind: KvErrorKind, facts: KvErrorFacts): string {
  const bucket = quote(facts.bucket ?? "");
  const key = quote(facts.key ?? "");
  switch (kind) {
    case "bucket_not_found":
      return `There is no bucket ${bucket}.`;
    case "bucket_exists":
      return `A bucket ${bucket} exists.`;
    case "key_not_found":
      return `The key ${key} has no value in the bucket ${bucket}.`;
    case "revision_mismatch":
      return `The newest revision of the key ${key} is another than the one asked for.`;
    case "value_too_large":
      return `The value is larger than the bucket ${bucket} accepts.`;
    case "bucket_full":
      return `The bucket ${bucket} has reached its max_bytes.`;
    case "storage_exhausted":
      return "The storage has no room left.";
    case "unavailable":
      return "The storage can't be reached at the moment. Try again.";
    default:
      return INTERNAL_SENTENCE;
  }
}

/** The only mapping from JetStream's error codes to error kinds, and the messages for them. */
import { KvError, type KvErrorDetails, type KvErrorKind } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";
import { NoReplyError } from "./requests.js";

/** An error response of JetStream. Never leaves `nats/`. */
export class JetStreamError extends Error {
  override readonly name = "JetStreamError";
  constructor(
    readonly code: number,
    readonly description: string,
  ) {
    super(`${code}: ${description}`);
  }
}

/** The JetStream error codes that the code refers to. */
export const JetStreamCode = {
  clusterNotAvailable: 10008,
  streamNotFound: 10059,
  messageNotFound: 10037,
  storeFailed: 10077,
  wrongLastSequence: 10071,
  wrongLastSequenceConstant: 10164,
  rollupFailed: 10111,
  duplicateUnderWay: 10158,
  duplicateInBatch: 10201,
} as const;

const KIND_OF_CODE: ReadonlyMap<number, KvErrorKind> = new Map<number, KvErrorKind>([
  [JetStreamCode.streamNotFound, "bucket_not_found"],
  [JetStreamCode.messageNotFound, "key_not_found"],
  [10058, "bucket_exists"],
  [JetStreamCode.wrongLastSequence, "revision_mismatch"],
  [JetStreamCode.wrongLastSequenceConstant, "revision_mismatch"],
  [10054, "value_too_large"],
  [10097, "value_too_large"],
  // Limits of the server or the account on memory, disk, streams and consumers.
  [10002, "storage_exhausted"],
  [10023, "storage_exhausted"],
  [10026, "storage_exhausted"],
  [10027, "storage_exhausted"],
  [10028, "storage_exhausted"],
  [10047, "storage_exhausted"],
  [10122, "storage_exhausted"],
  [10167, "storage_exhausted"],
  // JetStream is disabled, starting, without leader or quorum, or does not know enough peers yet.
  [10004, "unavailable"],
  [10005, "unavailable"],
  [10006, "unavailable"],
  [10007, "unavailable"],
  [JetStreamCode.clusterNotAvailable, "unavailable"],
  [10009, "unavailable"],
  [10118, "unavailable"],
  [10119, "unavailable"],
]);

/** JetStream has one code for all storage failures; only the text distinguishes a full bucket from a full disk. */
const BUCKET_FULL_TEXT = /maximum (bytes|messages)/;
const NO_SPACE_TEXT = /no space|insufficient|resources/i;
const DISK_FULL_TEXT = /no space left on device|disk quota exceeded/i;

/** The kind of an error response; `internal` for an unknown code. */
export function kindOf(error: JetStreamError): KvErrorKind {
  if (error.code === JetStreamCode.storeFailed) {
    if (BUCKET_FULL_TEXT.test(error.description)) return "bucket_full";
    return NO_SPACE_TEXT.test(error.description) ? "storage_exhausted" : "internal";
  }
  // If a stream can't be created, JetStream returns the file system's message under a generic code.
  return (
    KIND_OF_CODE.get(error.code) ??
    (DISK_FULL_TEXT.test(error.description) ? "storage_exhausted" : "internal")
  );
}

/** Converts any failure to a `KvError`, whose message does not mention JetStream. The original error is its cause. */
export function toKvError(error: unknown, facts: KvErrorDetails): KvError {
  if (error instanceof KvError) return error;
  if (error instanceof NoReplyError) {
    switch (error.reason) {
      case "deadline":
        return new KvError("deadline_exceeded", "The deadline expired before the storage responded.", facts);
      case "canceled":
        return new KvError("canceled", "The client canceled the call.", facts);
      case "no_responders":
      case "disconnected":
      case "interrupted":
        return unavailable(facts);
    }
  }
  if (error instanceof JetStreamError) {
    const kind = kindOf(error);
    return new KvError(kind, sentenceOf(kind, facts), { ...facts, cause: error });
  }
  return new KvError("internal", INTERNAL_SENTENCE, { ...facts, cause: error });
}

/** The error for a write that was sent and whose outcome is unknown. */
export function outcomeUnknown(facts: KvErrorDetails, cause?: unknown): KvError {
  return new KvError(
    "outcome_unknown",
    "The change was sent, and whether it was applied is unknown. Read before you retry.",
    { ...facts, cause },
  );
}

export function unavailable(facts: KvErrorDetails, cause?: unknown): KvError {
  return new KvError("unavailable", UNAVAILABLE_SENTENCE, {
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

const INTERNAL_SENTENCE = "The storage returned an unexpected error.";
const UNAVAILABLE_SENTENCE = "The storage can't be reached; retry.";

function sentenceOf(kind: KvErrorKind, facts: KvErrorDetails): string {
  const bucket = quote(facts.bucket ?? "");
  const key = quote(facts.key ?? "");
  switch (kind) {
    case "bucket_not_found":
      return `There is no bucket ${bucket}.`;
    case "bucket_exists":
      return `The bucket ${bucket} already exists.`;
    case "key_not_found":
      return `The key ${key} has no value in the bucket ${bucket}.`;
    case "revision_mismatch":
      return `The newest revision of the key ${key} is not the expected one.`;
    case "value_too_large":
      return `The value exceeds the max_value_size of the bucket ${bucket}.`;
    case "bucket_full":
      return `The bucket ${bucket} has reached its max_bytes.`;
    case "storage_exhausted":
      return "The storage has no space left.";
    case "unavailable":
      return UNAVAILABLE_SENTENCE;
    default:
      return INTERNAL_SENTENCE;
  }
}

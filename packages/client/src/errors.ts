/**
 * The SDK's errors. Every failed call throws a {@link KvError}; subclasses exist for the errors that programs handle.
 *
 * Two exceptions: an aborted call throws its signal's reason, as `fetch` does, and a value that can't be stored (such as `undefined`)
 * throws a TypeError before anything is sent.
 */

/** The code of an error: the Connect and gRPC codes by their lower-case names. */
export type KvErrorCode =
  | "canceled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "permission_denied"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss"
  | "unauthenticated";

/** The details of an error besides its message. */
export interface KvErrorFacts {
  readonly code: KvErrorCode;
  /**
   * A machine-readable reason of docs/errors.md such as `revision_mismatch`, or one of the SDK's own: `connection_failed` (nothing
   * was sent), `connection_lost`, `timed_out`. Empty if the server sent none. New reasons may be added.
   */
  readonly reason?: string | undefined;
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  /** The current, oldest usable or newest revision, or the one to resume from, depending on the reason. */
  readonly revision?: bigint | undefined;
  /** Whether the call may be retried later without applying a write twice. */
  readonly retryable?: boolean | undefined;
  /** Milliseconds to wait before a retry, if the server said so. */
  readonly retryAfterMs?: number | undefined;
  /** See {@link KvUnknownOutcomeError}. */
  readonly idempotencyWindowMs?: number | undefined;
  /** With it, where it is known: the time by the storage's clock. */
  readonly storageTime?: Date | undefined;
  readonly cause?: unknown;
}

/** A call that failed. */
export class KvError extends Error {
  override name = "KvError";
  readonly code: KvErrorCode;
  readonly reason: string;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly revision: bigint | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(sentence: string, facts: KvErrorFacts) {
    super(sentence, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.reason = facts.reason ?? "";
    this.bucket = facts.bucket;
    this.key = facts.key;
    this.revision = facts.revision;
    this.retryable = facts.retryable ?? false;
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** A name, key, filter or number is malformed; the message says what is valid. */
export class KvInvalidArgumentError extends KvError {
  override name = "KvInvalidArgumentError";
}

/** The bucket does not exist (`bucket_not_found`), or the key has no value (`key_not_found`). */
export class KvNotFoundError extends KvError {
  override name = "KvNotFoundError";
}

/** A bucket with this name exists; it is unchanged. */
export class KvBucketExistsError extends KvError {
  override name = "KvBucketExistsError";
}

/** The key's newest revision is not the one that the write expected. Nothing was written. */
export class KvConflictError extends KvError {
  override name = "KvConflictError";

  /** The key's newest revision; 0n if it has none. Read the key again before you retry. */
  get currentRevision(): bigint {
    return this.revision ?? 0n;
  }
}

/** `create` found that the key has a value. Nothing was written. */
export class KvKeyExistsError extends KvConflictError {
  override name = "KvKeyExistsError";
}

/** The service or its storage can't be reached; nothing was written. Safe to retry. */
export class KvUnavailableError extends KvError {
  override name = "KvUnavailableError";
}

/** A read reached its time limit. Safe to retry. */
export class KvTimeoutError extends KvError {
  override name = "KvTimeoutError";
}

/** A write was sent, and whether it was applied is unknown. Read the key before you retry. */
export class KvUnknownOutcomeError extends KvError {
  override name = "KvUnknownOutcomeError";
  /** How long the bucket deduplicates writes with this idempotency key, in milliseconds; undefined if unknown. */
  readonly idempotencyWindowMs: number | undefined;
  /** The time by the storage's clock when the service looked for the write; undefined where it could not. */
  readonly storageTime: Date | undefined;

  constructor(sentence: string, facts: KvErrorFacts) {
    super(sentence, facts);
    this.idempotencyWindowMs = facts.idempotencyWindowMs;
    this.storageTime = facts.storageTime;
  }
}

/** The API key is missing or unknown. */
export class KvUnauthenticatedError extends KvError {
  override name = "KvUnauthenticatedError";
}

/** The API key does not allow the call. */
export class KvPermissionDeniedError extends KvError {
  override name = "KvPermissionDeniedError";
}

/** A limit is reached; `reason` says which: `value_too_large`, `bucket_full`, `rate_limited`, `too_many_watches`, ... */
export class KvResourceExhaustedError extends KvError {
  override name = "KvResourceExhaustedError";
}

/** The revision is no longer stored (`revision_compacted`) or not written yet (`revision_in_future`). */
export class KvOutOfRangeError extends KvError {
  override name = "KvOutOfRangeError";
}

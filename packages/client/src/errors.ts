/**
 * The SDK's errors. Every failed call throws a {@link KvError}; subclasses exist for the errors that programs handle.
 *
 * Two exceptions: an aborted call throws its signal's reason, as `fetch` does, and a value that can't be stored (such as `undefined`)
 * throws a TypeError before anything is sent.
 */

import { jsonRevision } from "./json.js";

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

/** The properties of an error, besides its message. */
export interface KvErrorDetails {
  readonly code: KvErrorCode;
  /**
   * The machine-readable reason: one of docs/errors.md such as `revision_mismatch`, or one of the SDK's own: `connection_failed` (the
   * service did not process the call), `connection_lost`, `timed_out`, `response_too_large`. Empty if the server sent none. New reasons may
   * be added.
   */
  readonly reason?: string | undefined;
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  /** Depends on the reason: the key's or bucket's current revision, the oldest usable one, or the one to resume from. */
  readonly revision?: bigint | undefined;
  /** Of a commit whose condition does not hold: the first operation that it refuses, by its place. */
  readonly operationIndex?: number | undefined;
  /** Whether the call may be retried later without applying a write twice. */
  readonly retryable?: boolean | undefined;
  /** How long to wait before a retry, in milliseconds. Undefined: the server sent no advice. */
  readonly retryAfterMs?: number | undefined;
  /** See {@link KvUnknownOutcomeError}. */
  readonly idempotencyWindowMs?: number | undefined;
  /** See {@link KvUnknownOutcomeError}. */
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
  readonly operationIndex: number | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, details: KvErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.reason = details.reason ?? "";
    this.bucket = details.bucket;
    this.key = details.key;
    this.revision = details.revision;
    this.operationIndex = details.operationIndex;
    this.retryable = details.retryable ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** For JSON.stringify: the properties, with the name and the message. */
  toJSON(): Record<string, unknown> {
    const { name, message, code, reason, bucket, key, revision, operationIndex, retryable, retryAfterMs } =
      this;
    return {
      ...{ name, message, code, reason, bucket, key, operationIndex, retryable, retryAfterMs },
      ...(revision === undefined ? {} : { revision: jsonRevision(revision) }),
    };
  }
}

/** A name, key, filter or number is malformed; the message says what is valid. Do not retry. */
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

/** The reason of a lost lease's signal: another client may hold the lock, or lead, now. */
export class KvLeaseLostError extends KvError {
  override name = "KvLeaseLostError";
}

/** `ensureBucket` found a bucket with other settings. It is unchanged. */
export class KvBucketDiffersError extends KvError {
  override name = "KvBucketDiffersError";

  constructor(
    message: string,
    details: KvErrorDetails,
    /** The settings that differ. */
    readonly differences: readonly BucketDifference[],
  ) {
    super(message, details);
  }
}

/** A setting of a bucket that is not as it was requested. */
export interface BucketDifference {
  readonly setting: string;
  readonly expected: string | number;
  readonly actual: string | number;
}

/** The service or its storage can't be reached; nothing was written. Safe to retry. */
export class KvUnavailableError extends KvError {
  override name = "KvUnavailableError";
}

/** A read reached its time limit. Safe to retry. */
export class KvTimeoutError extends KvError {
  override name = "KvTimeoutError";
}

/**
 * A write was sent, and whether it was applied is unknown. With an idempotency key of your own, retry within half of
 * `idempotencyWindowMs`; otherwise read the key before you retry.
 */
export class KvUnknownOutcomeError extends KvError {
  override name = "KvUnknownOutcomeError";
  /** How long the bucket remembers the write, counted from its first attempt, in milliseconds; undefined if unknown. */
  readonly idempotencyWindowMs: number | undefined;
  /** The storage's clock when the service searched for the write; undefined if it could not search. */
  readonly storageTime: Date | undefined;

  constructor(message: string, details: KvErrorDetails) {
    super(message, details);
    this.idempotencyWindowMs = details.idempotencyWindowMs;
    this.storageTime = details.storageTime;
  }
}

/** The API key is missing, unknown, revoked or expired. Do not retry. */
export class KvUnauthenticatedError extends KvError {
  override name = "KvUnauthenticatedError";
}

/** The API key's scopes do not allow the call. Do not retry. */
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

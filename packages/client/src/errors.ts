/**
 * What the SDK throws. Every failure of a call is a {@link KvError}; the subclasses are the ones that programs tell apart.
 *
 * Two things are not a KvError: an aborted call throws its signal's own reason, as `fetch` does, and a value that can't be
 * stored (such as `undefined`) throws a TypeError before anything is sent.
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

/** What an error says besides its sentence. */
export interface KvErrorFacts {
  readonly code: KvErrorCode;
  /**
   * Why, for programs: a reason of docs/errors.md such as `revision_mismatch`, or one of the SDK's own: `connection_failed` (nothing
   * was sent), `connection_lost`, `timed_out`. Empty when the server gave none. New reasons may be added.
   */
  readonly reason?: string | undefined;
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  /** The revision that helps: the current, the oldest usable, the newest, or the one to resume from; see the reason. */
  readonly revision?: bigint | undefined;
  /** Whether the same call is worth another try, later, and can't apply a write twice. */
  readonly retryable?: boolean | undefined;
  /** Milliseconds to wait before another try, where the server gave advice. */
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

/** A name, key, filter or number is malformed; the sentence says what would be right. */
export class KvInvalidArgumentError extends KvError {
  override name = "KvInvalidArgumentError";
}

/** There is no such bucket (`bucket_not_found`), or the key has no value (`key_not_found`). */
export class KvNotFoundError extends KvError {
  override name = "KvNotFoundError";
}

/** A bucket of this name exists; it stays as it is. */
export class KvBucketExistsError extends KvError {
  override name = "KvBucketExistsError";
}

/** The key has changed: its newest revision is not the one that the write asked for. Nothing was written. */
export class KvConflictError extends KvError {
  override name = "KvConflictError";

  /** The key's newest revision now; 0n when it has none. Read the key again, then decide. */
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

/** The time for a read ran out. Safe to retry. */
export class KvTimeoutError extends KvError {
  override name = "KvTimeoutError";
}

/** A write was sent, and whether it was applied can't be known: read the key before trying again. */
export class KvUnknownOutcomeError extends KvError {
  override name = "KvUnknownOutcomeError";
  /** How long the bucket remembers the write by its idempotency key, in milliseconds; undefined where the service did not say. */
  readonly idempotencyWindowMs: number | undefined;
  /** The time by the storage's clock when the service looked for the write; undefined where it could not. */
  readonly storageTime: Date | undefined;

  constructor(sentence: string, facts: KvErrorFacts) {
    super(sentence, facts);
    this.idempotencyWindowMs = facts.idempotencyWindowMs;
    this.storageTime = facts.storageTime;
  }
}

/** The server wants an API key, or does not know this one. */
export class KvUnauthenticatedError extends KvError {
  override name = "KvUnauthenticatedError";
}

/** The API key is not good for this. */
export class KvPermissionDeniedError extends KvError {
  override name = "KvPermissionDeniedError";
}

/** A limit is reached; `reason` says which: `value_too_large`, `bucket_full`, `rate_limited`, `too_many_watches`, ... */
export class KvResourceExhaustedError extends KvError {
  override name = "KvResourceExhaustedError";
}

/** The revision is no longer kept (`revision_compacted`) or not written yet (`revision_in_future`). */
export class KvOutOfRangeError extends KvError {
  override name = "KvOutOfRangeError";
}

/**
 * Every kind of error that a call to a store can end with.
 *
 * `service/errors.ts` maps each kind to a Connect code; docs/errors.md documents them. A test checks that both list every kind.
 */
export const KV_ERROR_KINDS = [
  /** A name, key, filter, number or token is malformed. Not retryable. */
  "invalid_argument",
  /** The bucket name begins with a prefix that is reserved for the service. */
  "reserved_name",
  /** `update_mask` names a field that can't be changed. */
  "invalid_update_mask",
  /** No bucket has this name. */
  "bucket_not_found",
  /** The key has no value (at the requested revision). */
  "key_not_found",
  /** No API key has this id. */
  "api_key_not_found",
  /** A bucket with this name exists. */
  "bucket_exists",
  /** The write required that the key had no value, and it has one. `revision`: the key's. */
  "key_exists",
  /** The key's newest revision is not the expected one. `revision`: the current one; 0 if there is none. */
  "revision_mismatch",
  /** The idempotency key was used for another request. `revision`: that request's, if known. */
  "idempotency_key_reused",
  /** The bucket can't hold entries with a TTL of their own: its history is not 1. */
  "ttl_not_supported",
  /** The storage can't apply several writes to this bucket atomically: nats-server is too old, or another program configured the bucket. */
  "commit_unsupported",
  /** The requested revisions are no longer stored. `revision`: the oldest to start from without a gap. */
  "revision_compacted",
  /** The revision was not written yet, was lost by the storage, or belongs to a deleted bucket with this name. `revision`: the newest. */
  "revision_in_future",
  /** The bucket's `max_bytes` is reached. */
  "bucket_full",
  /** The value exceeds the bucket's or the service's limit. */
  "value_too_large",
  /** The request's message exceeds the service's limit. */
  "body_too_large",
  /** The result does not fit into one response; read it in pages. */
  "answer_too_large",
  /** A limit of the storage (disk, memory, streams, consumers) is reached. */
  "storage_exhausted",
  /** A limit on watches is reached. */
  "too_many_watches",
  /** The watcher fell too far behind. `revision`: the one to resume from. */
  "slow_watcher",
  /** A rate limit is reached. `retryAfterMs`: when to retry. */
  "rate_limited",
  /** The API key is missing or unknown. */
  "unauthenticated",
  /** The API key does not allow the call. */
  "permission_denied",
  /** The storage can't be reached; nothing was written. Safe to retry. */
  "unavailable",
  /** This replica of the service is shutting down. `revision`: for a watch, the one to resume from. Safe to retry on another replica. */
  "shutting_down",
  /** The deadline of a read expired. Safe to retry. */
  "deadline_exceeded",
  /** The client canceled the call. */
  "canceled",
  /** A write was sent, and whether it was applied is unknown. */
  "outcome_unknown",
  /** The service does not support the call. */
  "unimplemented",
  /** A bug in the service. Logged once with its cause, which clients do not see. */
  "internal",
] as const;

/** One of {@link KV_ERROR_KINDS}. */
export type KvErrorKind = (typeof KV_ERROR_KINDS)[number];

/** The details of an error besides its kind and message. */
export interface KvErrorDetails {
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  /** See the kind: the current, oldest, newest or resume revision. */
  readonly revision?: bigint | undefined;
  /** When the bucket that `revision` belongs to was created, in Unix milliseconds; possibly that of an earlier bucket with its name. */
  readonly bucketCreatedAtMs?: number | undefined;
  /** The position of the operation of a commit that caused the error. */
  readonly operationIndex?: number | undefined;
  /** Milliseconds to wait before a retry. */
  readonly retryAfterMs?: number | undefined;
  /** For a write with an idempotency key and an unknown outcome: how long the bucket remembers it after the first attempt, in milliseconds. */
  readonly idempotencyWindowMs?: number | undefined;
  /** With `idempotencyWindowMs`, if known: the storage's clock, in Unix milliseconds. */
  readonly storageTimeMs?: number | undefined;
  /** The cause: logged, never sent to a client. */
  readonly cause?: unknown;
}

/** An error of a kind that every protocol can encode, with a message that is safe to show to any client. */
export class KvError extends Error {
  override readonly name = "KvError";
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly revision: bigint | undefined;
  readonly bucketCreatedAtMs: number | undefined;
  readonly operationIndex: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly idempotencyWindowMs: number | undefined;
  readonly storageTimeMs: number | undefined;

  constructor(
    readonly kind: KvErrorKind,
    message: string,
    details: KvErrorDetails = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.bucket = details.bucket;
    this.key = details.key;
    this.revision = details.revision;
    this.bucketCreatedAtMs = details.bucketCreatedAtMs;
    this.operationIndex = details.operationIndex;
    this.retryAfterMs = details.retryAfterMs;
    this.idempotencyWindowMs = details.idempotencyWindowMs;
    this.storageTimeMs = details.storageTimeMs;
  }
}

/** An `invalid_argument` error. The message says what is wrong and what is valid. */
export function invalidArgument(message: string, details: KvErrorDetails = {}): KvError {
  return new KvError("invalid_argument", message, details);
}

/** The same error with further details. */
export function withDetails(error: KvError, details: KvErrorDetails): KvError {
  const { bucket, key, revision, bucketCreatedAtMs, operationIndex } = error;
  const { retryAfterMs, idempotencyWindowMs, storageTimeMs, cause } = error;
  const known = { bucket, key, revision, bucketCreatedAtMs, operationIndex };
  const further = { retryAfterMs, idempotencyWindowMs, storageTimeMs, cause };
  return new KvError(error.kind, error.message, { ...known, ...further, ...details });
}

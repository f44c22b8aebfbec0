/**
 * Everything that can go wrong with a call to a store, by event.
 *
 * `service/errors.ts` maps each kind to a Connect code; docs/errors.md lists them for users. Adding a kind means adding
 * it in both places: a test compares them.
 */
export const KV_ERROR_KINDS = [
  /** A name, key, filter, number or token is malformed. Never worth a retry. */
  "invalid_argument",
  /** The bucket name begins with a prefix that the service keeps for itself. */
  "reserved_name",
  /** `update_mask` names a field that can't be changed. */
  "invalid_update_mask",
  /** There is no bucket of this name. */
  "bucket_not_found",
  /** The key has no value (at the revision asked for). */
  "key_not_found",
  /** There is no API key of this id. */
  "api_key_not_found",
  /** A bucket of this name exists. */
  "bucket_exists",
  /** The write was to happen only if the key had no value, and it has one. `revision`: the key's. */
  "key_exists",
  /** The key's newest revision is another than the one asked for. `revision`: the current one; 0 when there is none. */
  "revision_mismatch",
  /** The idempotency key was used for another request. `revision`: that one's, where it is known. */
  "idempotency_key_reused",
  /** What was asked for is no longer kept. `revision`: the oldest that misses nothing. */
  "revision_compacted",
  /** The revision has not been written yet, was lost by the storage, or belongs to an earlier bucket of this name. `revision`: the newest. */
  "revision_in_future",
  /** The bucket's `max_bytes` is reached. */
  "bucket_full",
  /** The value is over the bucket's or the service's limit. */
  "value_too_large",
  /** What was asked for does not fit into one answer; it can be read in pages. */
  "answer_too_large",
  /** The storage's own limits (disk, memory, streams, consumers) are reached. */
  "storage_exhausted",
  /** A limit on watches is reached. */
  "too_many_watches",
  /** The watcher did not read fast enough. `revision`: the one to resume from. */
  "slow_watcher",
  /** A limit on calls is reached. `retryAfterMs` says when to come back. */
  "rate_limited",
  /** No API key, or one that is not known. */
  "unauthenticated",
  /** The API key is not good for this. */
  "permission_denied",
  /** The storage can't be reached; nothing was written. Safe to retry. */
  "unavailable",
  /** This copy of the service is stopping. `revision`: for a watch, the one to resume from. Safe to retry elsewhere. */
  "shutting_down",
  /** The time for a read ran out. Safe to retry. */
  "deadline_exceeded",
  /** The caller gave up. */
  "canceled",
  /** A write was sent, and whether it was applied can't be known. */
  "outcome_unknown",
  /** The service does not do this. */
  "unimplemented",
  /** A fault of ours. Logged once with its cause; opaque outside. */
  "internal",
] as const;

/** One of {@link KV_ERROR_KINDS}. */
export type KvErrorKind = (typeof KV_ERROR_KINDS)[number];

/** What an error says besides its kind and sentence. */
export interface KvErrorFacts {
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  /** See the kind: the current, oldest, newest or resume revision. */
  readonly revision?: bigint | undefined;
  /** When the bucket of `revision` was created, or an earlier one of its name, in milliseconds since 1970. */
  readonly bucketCreatedAtMs?: number | undefined;
  /** Milliseconds to wait before another try. */
  readonly retryAfterMs?: number | undefined;
  /** Of a write with an idempotency key whose outcome is unknown: milliseconds for which the key counts, from the first sending on. */
  readonly idempotencyWindowMs?: number | undefined;
  /** With it, where it is known: the time by the storage's clock, in milliseconds since 1970. */
  readonly storageTimeMs?: number | undefined;
  /** What caused it; logged, never sent to a client. */
  readonly cause?: unknown;
}

/** An error with a kind that every door knows how to answer, and a sentence that is safe to show to any client. */
export class KvError extends Error {
  override readonly name = "KvError";
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly revision: bigint | undefined;
  readonly bucketCreatedAtMs: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly idempotencyWindowMs: number | undefined;
  readonly storageTimeMs: number | undefined;

  constructor(
    readonly kind: KvErrorKind,
    sentence: string,
    facts: KvErrorFacts = {},
  ) {
    super(sentence, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.bucket = facts.bucket;
    this.key = facts.key;
    this.revision = facts.revision;
    this.bucketCreatedAtMs = facts.bucketCreatedAtMs;
    this.retryAfterMs = facts.retryAfterMs;
    this.idempotencyWindowMs = facts.idempotencyWindowMs;
    this.storageTimeMs = facts.storageTimeMs;
  }
}

/** An `invalid_argument` error. The sentence says what was wrong and what would be right. */
export function invalidArgument(sentence: string, facts: KvErrorFacts = {}): KvError {
  return new KvError("invalid_argument", sentence, facts);
}

/**
 * What a store is: the interface between the service and whatever keeps the data, with its full contract.
 *
 * Rules that hold for every method:
 * - Bucket names, keys and filters arrive as the client wrote them; the store checks them with `names.ts` and
 *   `filter.ts` before it does anything, and throws `invalid_argument`.
 * - Failures are thrown as `KvError`; every method may throw `unavailable`, `internal` and, where the caller's time ran out
 *   or the caller gave up, `deadline_exceeded` or `canceled` (reads) and `outcome_unknown` (writes that were sent).
 * - A method on a bucket that does not exist throws `bucket_not_found`.
 * - An acknowledged write is visible to every read that begins afterwards, through any copy of the service, but `eventual` ones.
 * - Revisions are per bucket, start at 1, and grow with every write to the bucket.
 */

/** What limits one call. */
export interface CallScope {
  /** When the caller stops waiting, in milliseconds of `performance.now()`. */
  readonly deadlineMs: number;
  /** Aborted when the caller gave up. Read lazily: making it may cost. */
  readonly signal: AbortSignal;
  /** Whether the caller gave up, without making the signal. Default: what the signal says. */
  readonly isCanceled?: boolean | undefined;
}

/** What a bucket is made with. */
export interface BucketConfig {
  readonly name: string;
  /** Default: empty. */
  readonly description?: string | undefined;
  /** How long an entry lives, in milliseconds. Default: 0, forever. */
  readonly ttlMs?: number | undefined;
  /** Bytes of the largest value. 0, the default: the service's limit only. */
  readonly maxValueSize?: number | undefined;
  /** Bytes that the bucket may hold. 0, the default: no limit. */
  readonly maxBytes?: number | undefined;
  /** Revisions kept per key, 1 to 64. Default: 1. */
  readonly history?: number | undefined;
}

/** What can be changed in a bucket: what is undefined stays. */
export type BucketChange = Omit<BucketConfig, "name">;

/** A bucket and what it holds. */
export interface BucketInfo extends Required<{
  [Field in keyof BucketConfig]: NonNullable<BucketConfig[Field]>;
}> {
  /** Live keys, exactly. */
  readonly values: number;
  /** Stored bytes, history and tombstones included. */
  readonly bytes: number;
  readonly createdAt: Date;
  /** The newest revision; 0 when there was none. */
  readonly revision: bigint;
  /** Copies kept by the storage. */
  readonly replicas: number;
  readonly storage: "file" | "memory";
  readonly durability: Durability;
  /** Milliseconds for which a write's idempotency key counts; 0: not at all. */
  readonly idempotencyWindowMs: number;
}

/** What a bucket takes in the storage, history and tombstones included. */
export interface BucketSize {
  readonly bucket: string;
  readonly bytes: number;
  readonly entries: number;
}

/** What a compaction did. */
export interface CompactionResult {
  /** Tombstones that were removed. */
  readonly removed: number;
}

/** One page of a list: at least one item where any is left, and at most the limits of count and bytes allow. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** Give this back for the next page; empty after the last. */
  readonly nextPageToken: string;
}

/** Which page of a list. */
export interface PageRequest {
  /** Items on the page; 0 means the most allowed. */
  readonly limit: number;
  /** Empty: the first page. */
  readonly pageToken: string;
}

/** What a write did to a key. `expire`: the storage removed it at the end of its life. */
export type Operation = "put" | "delete" | "purge" | "expire";

/** One revision of a key. */
export interface Entry {
  readonly key: string;
  /** Empty for tombstones. Not to be changed: watchers share it. */
  readonly value: Uint8Array;
  readonly revision: bigint;
  /** Milliseconds since 1970, by the storage's clock; `createdAtNanos` has the rest. */
  readonly createdAtMs: number;
  /** Nanoseconds within the millisecond, 0 to 999,999. */
  readonly createdAtNanos: number;
  readonly operation: Operation;
  /** Empty when none was given. */
  readonly contentType: string;
}

/** When a write may happen: always, only if the key has no value, or only if its newest revision is this one (>= 1). */
export type Condition = "always" | "if_absent" | { readonly ifRevision: bigint };

export interface WriteOptions {
  /** Default: always. */
  readonly condition?: Condition | undefined;
  /**
   * Write only into the bucket that was created then; throws `revision_mismatch` where it was recreated since, and `outcome_unknown` where
   * it was recreated during the write. Default: whatever bucket has the name.
   */
  readonly bucketCreatedAtMs?: number | undefined;
  /**
   * 1 to 128 visible ASCII characters that stand for this request in this bucket: within the bucket's window the same one again has the
   * first one's result and is not applied again; another one is refused with `idempotency_key_reused`. Default: none.
   */
  readonly idempotencyKey?: string | undefined;
  /**
   * It may have been sent before with its idempotency key. It is applied only where it is certain that it was not applied then, also where
   * the storage lost its memory; otherwise `outcome_unknown`. Default: it was not sent before.
   */
  readonly sentBefore?: EarlierAttempt | undefined;
}

/** What a client says of the first time that it sent a write. */
export interface EarlierAttempt {
  /** If it was applied, its revision is above this one. */
  readonly after: bigint;
  /** How long ago that was, in milliseconds. Default: 15 seconds, where `timeMs` is absent too. */
  readonly ageMs?: number | undefined;
  /**
   * When that was by the storage's clock, at the earliest, in milliseconds since 1970; 0: at any time. Unlike `ageMs` it also counts the
   * time that this request takes to arrive.
   */
  readonly timeMs?: number | undefined;
}

/** `strong`: as the rules above say. `eventual`: any copy of the bucket may answer, also one that lags behind. */
export type Consistency = "strong" | "eventual";

/** What an acknowledged write survives: `synced`, a power failure; `relaxed`, not quite; `unknown`, as the server is configured. */
export type Durability = "synced" | "relaxed" | "unknown";

export interface PutOptions extends WriteOptions {
  /** Printable ASCII, up to 255 bytes. Default: none. */
  readonly contentType?: string | undefined;
}

export interface DeleteOptions extends WriteOptions {
  /** Also remove the history. Default: false. */
  readonly purge?: boolean | undefined;
}

/** An entry to write as it stood in another bucket. What expired can't be written. */
export interface ImportedEntry {
  readonly key: string;
  /** Empty for tombstones. */
  readonly value: Uint8Array;
  readonly operation: Exclude<Operation, "expire">;
  /** As in {@link PutOptions}; empty: none. */
  readonly contentType: string;
}

/** How far an import came: at least 1 entry. */
export interface ImportResult {
  readonly imported: number;
  /** Of the last entry that was written. */
  readonly revision: bigint;
}

export interface WatchOptions {
  /** Events of keys that match at least one; empty means all. */
  readonly filters: readonly string[];
  /** `snapshot`: present values first. `now`: changes only. `history`: every kept entry first. Or from a revision. */
  readonly start:
    | "snapshot"
    | "now"
    | "history"
    | { readonly revision: bigint; readonly bucketCreatedAtMs?: number | undefined };
  readonly ignoreDeletes?: boolean | undefined;
  readonly keysOnly?: boolean | undefined;
  readonly previous?: boolean | undefined;
  /** Milliseconds between progress marks. Default: none. */
  readonly progressIntervalMs?: number | undefined;
}

export type WatchEvent =
  | { readonly type: "change"; readonly entry: Entry; readonly previous?: Entry | undefined }
  | { readonly type: "snapshot_end"; readonly revision: bigint; readonly bucketCreatedAtMs: number }
  | { readonly type: "progress"; readonly revision: bigint; readonly timeMs: number };

/**
 * A running watch. Iterate it once; `return()` (or leaving the loop) frees everything at once, also while `next()` waits.
 *
 * Events come in the order of their revisions, none missed, doubled or reordered. It never ends by itself without a word: it
 * throws `bucket_not_found`, `slow_watcher`, `shutting_down`, `revision_compacted` (with the revision to resume from where there
 * is one) or `canceled` when the scope's signal aborts.
 */
export interface Watch extends AsyncIterableIterator<WatchEvent> {
  /** An event that is at hand, without waiting, for those who send many at once. Where there is none `next()` waits, or tells the end. */
  poll?(): WatchEvent | undefined;
}

/** Buckets and their entries. */
export interface Store {
  /**
   * Makes a bucket. `createdBy`: the id of the API key whose buckets are counted; absent: they are not. Throws `bucket_exists`, `reserved_name`,
   * `storage_exhausted`.
   */
  createBucket(config: BucketConfig, scope: CallScope, createdBy?: string): Promise<BucketInfo>;
  getBucket(bucket: string, scope: CallScope): Promise<BucketInfo>;
  /**
   * When the bucket was created, in milliseconds since 1970: tells it from an earlier one of its name. `known`: as last known, mostly
   * without a request; `recent`: as known within the last second. Both may be of an earlier bucket, never of a later one than what is read
   * or written next. `current`: as the storage says now.
   */
  bucketCreatedAtMs(
    bucket: string,
    scope: CallScope,
    freshness: "known" | "recent" | "current",
  ): number | Promise<number>;
  /** In the order of names; only those that `shows` says yes to. Default: all. */
  listBuckets(
    page: PageRequest,
    scope: CallScope,
    shows?: (bucket: string) => boolean,
  ): Promise<Page<BucketInfo>>;
  updateBucket(bucket: string, change: BucketChange, scope: CallScope): Promise<BucketInfo>;
  /** Ends the bucket's watches with `bucket_not_found`. */
  deleteBucket(bucket: string, scope: CallScope): Promise<void>;
  /**
   * Removes the tombstones of keys that have no value, with what the keys had before, however young. A watch that resumes from before
   * the newest of them gets `revision_compacted`. Those that a live watch has still to get stay for now. Safe to retry.
   */
  compactBucket(bucket: string, scope: CallScope): Promise<CompactionResult>;

  /**
   * The newest entry of a key (revision 0), or the one written at exactly that revision; always an operation `put`.
   * Throws `key_not_found`, `revision_compacted`, `revision_in_future`.
   */
  get(
    bucket: string,
    key: string,
    revision: bigint,
    scope: CallScope,
    consistency?: Consistency,
  ): Promise<Entry>;
  /** Writes; returns the revision. Throws `key_exists`, `revision_mismatch`, `value_too_large`, `bucket_full`, `storage_exhausted`. */
  put(bucket: string, key: string, value: Uint8Array, options: PutOptions, scope: CallScope): Promise<bigint>;
  /** Writes a tombstone; returns its revision, or 0 when the key had nothing to delete. Throws `revision_mismatch`. */
  delete(bucket: string, key: string, options: DeleteOptions, scope: CallScope): Promise<bigint>;
  /** Live keys that match, in byte order. */
  listKeys(
    bucket: string,
    filters: readonly string[],
    page: PageRequest,
    scope: CallScope,
    consistency?: Consistency,
  ): Promise<Page<string>>;
  /**
   * The kept revisions of a key, oldest first. A request with neither limit nor token asks for all of them in one page: throws
   * `answer_too_large` where they do not fit. Throws `key_not_found` when there is none, unless a page came before.
   */
  history(
    bucket: string,
    key: string,
    page: PageRequest,
    scope: CallScope,
    consistency?: Consistency,
  ): Promise<Page<Entry>>;
  /**
   * Writes entries in their order, the first under the revision `afterRevision` + 1, a tombstone also where the key has no value: all, or
   * a first part of them where one is refused or somebody else wrote in between. Throws `revision_mismatch` (with the bucket's revision)
   * where that is another one, and for the first entry `value_too_large`, `bucket_full`, `storage_exhausted`.
   */
  importEntries(
    bucket: string,
    afterRevision: bigint,
    entries: readonly ImportedEntry[],
    scope: CallScope,
  ): Promise<ImportResult>;
  /**
   * Starts a watch; resolves when it is in place, so that every later change will be seen. Only the scope's signal counts, not its
   * deadline. Throws `too_many_watches`, `revision_compacted`, `revision_in_future`.
   */
  watch(bucket: string, options: WatchOptions, scope: CallScope): Promise<Watch>;

  /** Resolves when the storage answers; throws `unavailable` otherwise. */
  ping(scope: CallScope): Promise<void>;
  /** Tombstones that this store compacted since it began. */
  compactedTombstones(): number;
  /** What each bucket takes. Cheap: unlike `listBuckets` it counts no live keys. */
  sizes(scope: CallScope): Promise<readonly BucketSize[]>;
  /** Ends every watch with `shutting_down` and releases the storage. */
  close(): Promise<void>;
}

/**
 * A bucket that the service keeps for itself, in a space of names that no client can reach. Its methods are those of {@link Store}, with
 * the same rules. Errors do not name the bucket: they may reach a client.
 */
export interface SystemBucket {
  /** Makes the bucket if it is not there. */
  ensure(scope: CallScope): Promise<void>;
  get(key: string, scope: CallScope): Promise<Entry>;
  put(key: string, value: Uint8Array, condition: Condition, scope: CallScope): Promise<bigint>;
  /** Removes a key with its history; 0 when there was nothing. On a revision, throws `revision_mismatch` also for a key that is gone. */
  remove(
    key: string,
    condition: "always" | { readonly ifRevision: bigint },
    scope: CallScope,
  ): Promise<bigint>;
  /** Present values first, then changes. */
  watch(scope: CallScope): Promise<Watch>;
}

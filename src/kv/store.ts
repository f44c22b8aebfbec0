/**
 * The store: the interface between the service and the storage, and its contract.
 *
 * For every method:
 * - Bucket names, keys and filters are passed as the client sent them. The store checks them first, with `names.ts` and `filter.ts`, and
 *   throws `invalid_argument`.
 * - Failures are `KvError`s. Every method may throw `unavailable` and `internal`. After the deadline or a cancellation, reads throw
 *   `deadline_exceeded` or `canceled`, and writes that were sent throw `outcome_unknown`.
 * - A method on a bucket that does not exist throws `bucket_not_found`.
 * - An acknowledged write is visible to every read that begins afterwards, through any instance of the service, except `eventual` reads.
 * - Names of buckets are qualified by their environment: `sessions` in the default one, `staging/sessions` in another (`names.ts`).
 * - Revisions are per bucket, start at 1, and increase with every write to the bucket.
 */

import type { BucketSize, GroupCommitStats, KeyIndexStats } from "./store-stats.js";

/** The deadline and cancellation of one call. */
export interface CallContext {
  /** The deadline, in milliseconds of `performance.now()`. */
  readonly deadlineMs: number;
  /** Aborted when the client cancels. Creating it may be expensive: do not read it before it is needed. */
  readonly signal: AbortSignal;
  /** Whether the client canceled, without creating the signal. Default: the signal's state. */
  readonly isCanceled?: boolean | undefined;
  /** Identifies the caller: bulk work is done for the callers in turn. Default: each context is a caller of its own. */
  readonly flow?: unknown;
}

/** The parameters of a new bucket. */
export interface BucketConfig {
  readonly name: string;
  /** Default: empty. */
  readonly description?: string | undefined;
  /** How long an entry lives, in milliseconds. Default: 0, forever. */
  readonly ttlMs?: number | undefined;
  /** The largest accepted value, in bytes. 0, the default: only the service's limit applies. */
  readonly maxValueSize?: number | undefined;
  /** The maximum size of the bucket, in bytes. 0, the default: no limit. */
  readonly maxBytes?: number | undefined;
  /** Revisions kept per key, 1 to 64. Default: 1. */
  readonly history?: number | undefined;
}

/** An update of a bucket. Undefined fields keep their values. */
export type BucketChange = Omit<BucketConfig, "name">;

/** A bucket's configuration and current size. */
export interface BucketInfo extends Required<{
  [Field in keyof BucketConfig]: NonNullable<BucketConfig[Field]>;
}> {
  /** The exact number of live keys at `revision`. */
  readonly values: number;
  /** Stored bytes, including history and tombstones. */
  readonly bytes: number;
  readonly createdAt: Date;
  /** The newest revision; 0 if nothing was ever written. */
  readonly revision: bigint;
  /** The number of replicas in the storage. */
  readonly replicas: number;
  readonly storage: "file" | "memory";
  readonly durability: Durability;
  /** How long the bucket remembers a write with an idempotency key, in milliseconds; 0: not at all. */
  readonly idempotencyWindowMs: number;
}

/** The result of a compaction. */
export interface CompactionResult {
  /** The number of removed tombstones. */
  readonly removed: number;
}

/** One page of a list. Has at least one item unless none is left, and respects the limits on items and bytes. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** The `pageToken` of the next page; empty on the last page. */
  readonly nextPageToken: string;
}

/** One page of a list of keys. */
export interface KeyPage extends Page<string> {
  /** The bucket's revision at which the page is exact: no write up to it is missing, and none after it is included. */
  readonly revision: bigint;
}

/** The values of several keys at one revision of the bucket. */
export interface KeyBatch {
  /** In the order of the request, up to the first key that did not fit. Has at least one. */
  readonly results: readonly KeyResult[];
  /** The keys that did not fit. */
  readonly unreadKeys: readonly string[];
  /** The revision at which every result is exact. */
  readonly revision: bigint;
  readonly bucketCreatedAtMs: number;
}

/** What a key was found to have. */
export interface KeyResult {
  readonly key: string;
  /** Undefined: the key has no value. */
  readonly entry: Entry | undefined;
}

/** Selects the entries of a scan. A key must match a filter, have the prefix, and be within the bounds. */
export interface ScanOptions {
  /** None: all keys. */
  readonly filters: readonly string[];
  /** Empty: any. */
  readonly prefix: string;
  /** Inclusive, by UTF-8 bytes. Empty: from the first key. */
  readonly startKey: string;
  /** Exclusive. Empty: to the last key. */
  readonly endKey: string;
  readonly isReverse: boolean;
  /** 0: no limit. */
  readonly limit: number;
  /** Entries without value, media type and nanoseconds. */
  readonly keysOnly: boolean;
  /** Continue at a newer revision instead of ending with `revision_compacted`. */
  readonly allowNewer: boolean;
}

/** Entries of a scan that follow each other. */
export interface ScanPart {
  readonly entries: readonly Entry[];
  /** The revision at which they are exact. */
  readonly revision: bigint;
  /** Only in the last part, which has no entries. `isComplete`: whether no further key matches. */
  readonly end?: { readonly isComplete: boolean; readonly bucketCreatedAtMs: number };
}

/**
 * A running scan. It can be iterated once. `return()` (or leaving the loop) releases its resources at once, even during a pending `next()`.
 * Without a part that has an `end`, it has failed. Throws `revision_compacted` with the key whose value is gone, and `bucket_not_found`.
 */
export type Scan = AsyncIterableIterator<ScanPart>;

/** Selects a page of a list. */
export interface PageRequest {
  /** The maximum number of items; 0: the limit of the list. */
  readonly limit: number;
  /** Empty: the first page. */
  readonly pageToken: string;
}

/** What a write did to a key. `expire`: the storage removed the entry at the end of its TTL. */
export type Operation = "put" | "delete" | "purge" | "expire";

/** One revision of a key. */
export interface Entry {
  readonly key: string;
  /** Empty for tombstones. Immutable: watchers share it. */
  readonly value: Uint8Array;
  readonly revision: bigint;
  /** When the revision was written by the storage's clock, in milliseconds since 1970. */
  readonly createdAtMs: number;
  /** The nanoseconds within that millisecond, 0 to 999,999. */
  readonly createdAtNanos: number;
  readonly operation: Operation;
  /** The media type; empty if none was sent. */
  readonly contentType: string;
  /** When it expires by its own TTL, by the storage's clock, in milliseconds since 1970. The bucket's `ttlMs` is not included. Absent: never. */
  readonly expiresAtMs?: number | undefined;
  /** The pairs that were sent with it. Immutable. Absent: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The revision of the last write of the commit that this one belongs to. Absent: it belongs to none. */
  readonly commitRevision?: bigint | undefined;
}

/** The condition of a write: none, the key has no value, or the key's newest revision is this one (>= 1). */
export type Condition = "always" | "if_absent" | { readonly ifRevision: bigint };

export interface WriteOptions {
  /** Default: always. */
  readonly condition?: Condition | undefined;
  /**
   * Write only if the bucket was created at this time. Throws `revision_mismatch` if it was recreated since, and `outcome_unknown` if it
   * was recreated during the write. Default: not checked.
   */
  readonly bucketCreatedAtMs?: number | undefined;
  /**
   * Identifies this request within the bucket: 1 to 128 visible ASCII characters. Within the bucket's window, a repeated request gets the
   * result of the first and is not applied again; a different request is refused with `idempotency_key_reused`. Default: none.
   */
  readonly idempotencyKey?: string | undefined;
  /**
   * An earlier attempt with the same idempotency key. The write is applied only if it is certain that the earlier attempt was not, even
   * if the storage has lost its memory of it; otherwise throws `outcome_unknown`. Default: this is the first attempt.
   */
  readonly sentBefore?: EarlierAttempt | undefined;
}

/** What a client reports about its first attempt of a write. */
export interface EarlierAttempt {
  /** A revision from before the attempt: if the attempt was applied, its revision is higher. */
  readonly after: bigint;
  /** The time since the attempt, in milliseconds. Default: 15 seconds if `timeMs` is absent too. */
  readonly ageMs?: number | undefined;
  /**
   * The earliest possible time of the attempt by the storage's clock, in milliseconds since 1970; 0: unknown. Unlike `ageMs`, it also
   * covers the time that this request takes to arrive.
   */
  readonly timeMs?: number | undefined;
}

/** `strong`: sees every acknowledged write, see above. `eventual`: any replica may answer, even one that lags behind. */
export type Consistency = "strong" | "eventual";

/** Whether an acknowledged write survives a power failure: `synced` yes, `relaxed` maybe not, `unknown` depends on the server. */
export type Durability = "synced" | "relaxed" | "unknown";

export interface PutOptions extends WriteOptions {
  /** Printable ASCII, up to 255 bytes. Default: none. */
  readonly contentType?: string | undefined;
  /**
   * How long the value lives, in milliseconds, rounded up to whole seconds; the bucket's `ttlMs` may be shorter. Throws `ttl_not_supported`
   * unless the bucket's history is 1: in a deeper one, the value before it would come back. Default: no expiry of its own.
   */
  readonly ttlMs?: number | undefined;
  /** See `checkMetadata` in metadata.ts. Default: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface TouchOptions extends Omit<WriteOptions, "condition"> {
  /** Touch only if the key's newest revision is this one. Default: always. */
  readonly ifRevision?: bigint | undefined;
  /** The new TTL, from now on: see {@link PutOptions}. Default: none. */
  readonly ttlMs?: number | undefined;
}

export interface DeleteOptions extends WriteOptions {
  /** Also remove the history. Default: false. */
  readonly purge?: boolean | undefined;
}

/** What a put of a commit may have: all options of a put, except those that belong to the whole commit. */
export type CommitPutOptions = Omit<PutOptions, Exclude<keyof WriteOptions, "condition">>;

/** An operation of a commit. Conditions describe the bucket before the commit. */
export type CommitOperation =
  | { readonly type: "check"; readonly key: string; readonly condition: Exclude<Condition, "always"> }
  /** No key that matches the filter changed after this revision. The filter has no `*` inside a token. */
  | { readonly type: "check_unchanged"; readonly filter: string; readonly since: bigint }
  | {
      readonly type: "put";
      readonly key: string;
      readonly value: Uint8Array;
      readonly options: CommitPutOptions;
    }
  | {
      readonly type: "delete";
      readonly key: string;
      readonly purge: boolean;
      readonly condition: Exclude<Condition, "if_absent">;
    };

export interface CommitResult {
  /** The revision of the last write; without writes, the one at which the checks held. */
  readonly revision: bigint;
  /** One for each operation; 0 for a check. */
  readonly revisions: readonly bigint[];
}

/** An entry of another bucket to write. An expiry can't be written. */
export interface ImportedEntry {
  readonly key: string;
  /** Empty for tombstones. */
  readonly value: Uint8Array;
  readonly operation: Exclude<Operation, "expire">;
  /** As in {@link PutOptions}; empty: none. */
  readonly contentType: string;
  /** As in {@link Entry}. A `put` whose time is over, or less than a second away, is written as a `purge`. */
  readonly expiresAtMs?: number | undefined;
  /** As in {@link PutOptions}. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface ImportResult {
  /** The number of written entries, at least 1. */
  readonly imported: number;
  /** The revision of the last written entry. */
  readonly revision: bigint;
}

export interface WatchOptions {
  /** Selects keys that match at least one filter; none: all keys. */
  readonly filters: readonly string[];
  /** `snapshot`: current values first. `now`: changes only. `history`: every kept entry first. Or the changes from a revision on. */
  readonly start:
    | "snapshot"
    | "now"
    | "history"
    | { readonly revision: bigint; readonly bucketCreatedAtMs?: number | undefined };
  /** Omit tombstones. Default: false. */
  readonly ignoreDeletes?: boolean | undefined;
  /** Emit entries without their values. Default: false. */
  readonly keysOnly?: boolean | undefined;
  /** Include the entry that each change replaced, if it is still kept. Default: false. */
  readonly previous?: boolean | undefined;
  /** End with `revision_compacted` instead of omitting a revision: see `WatchEvent`. Default: false. */
  readonly everyChange?: boolean | undefined;
  /** The maximum interval between progress events, in milliseconds. Default: no progress events. */
  readonly progressIntervalMs?: number | undefined;
}

/**
 * `superseded`: how many revisions between the previous event, or the start, and this one were gone before this process could read them.
 * Absent: none. Their keys are unknown: with filters, it is an upper bound. Revisions that the snapshot or history omits do not count.
 */
export type WatchEvent = { readonly superseded?: number } & (
  | { readonly type: "change"; readonly entry: Entry; readonly previous?: Entry | undefined }
  | { readonly type: "snapshot_end"; readonly revision: bigint; readonly bucketCreatedAtMs: number }
  | { readonly type: "progress"; readonly revision: bigint; readonly timeMs: number }
);

/**
 * A running watch. It can be iterated once. `return()` (or leaving the loop) releases its resources at once, even during a pending
 * `next()`.
 *
 * Events arrive in the order of their revisions, none duplicated or reordered. Every revision stored during the watch arrives, unless it was
 * superseded before this process could read it: the next event has the count (`superseded`). A watch always ends with an error:
 * `bucket_not_found`, `slow_watcher`, `shutting_down`, `revision_compacted` (with the revision to resume from, if there is one), or
 * `canceled` when the context's signal aborts.
 */
export interface Watch extends AsyncIterableIterator<WatchEvent> {
  /** Whether its events were stored before it began. They may be delayed in favor of short calls, unlike live ones. Default: false. */
  readonly isCatchingUp?: boolean;
  /** Returns a buffered event without waiting, for callers that send batches. Undefined if there is none. */
  poll?(): WatchEvent | undefined;
}

/** Buckets and their entries. */
export interface Store {
  /**
   * Creates a bucket. `createdBy`: the ID of the API key that the bucket counts towards; absent: it counts towards none. Throws
   * `bucket_exists`, `reserved_name`, `storage_exhausted`.
   */
  createBucket(config: BucketConfig, context: CallContext, createdBy?: string): Promise<BucketInfo>;
  /** `counts`: whether to count the live keys; otherwise `values` is 0, and the key index is not needed. Default: true. */
  getBucket(bucket: string, context: CallContext, counts?: boolean): Promise<BucketInfo>;
  /**
   * When the bucket was created, in milliseconds since 1970. It distinguishes the bucket from an earlier one with the same name. `known`:
   * a cached value of any age, usually without a request; `recent`: one from the last second. Both may be an earlier bucket's, never that
   * of a later bucket than the one that is read or written next. `current`: asks the storage.
   */
  bucketCreatedAtMs(
    bucket: string,
    context: CallContext,
    freshness: "known" | "recent" | "current",
  ): number | Promise<number>;
  /** Lists the buckets for which `isVisible` returns true, ordered by name. Default: all. `counts`: see `getBucket`. */
  listBuckets(
    page: PageRequest,
    context: CallContext,
    isVisible?: (bucket: string) => boolean,
    counts?: boolean,
  ): Promise<Page<BucketInfo>>;
  /** The names of all buckets of all environments, sorted. */
  bucketNames(context: CallContext): Promise<readonly string[]>;
  updateBucket(bucket: string, change: BucketChange, context: CallContext): Promise<BucketInfo>;
  /** Deletes a bucket and its entries, and ends its watches with `bucket_not_found`. */
  deleteBucket(bucket: string, context: CallContext): Promise<void>;
  /**
   * Removes all tombstones of keys without a value, of any age, and the earlier history of these keys. A watch that resumes from before the
   * newest removed tombstone gets `revision_compacted`. Keeps tombstones that a live watch has not received yet. Safe to retry.
   */
  compactBucket(bucket: string, context: CallContext): Promise<CompactionResult>;

  /**
   * Returns the newest entry of a key (`revision` 0), or the one written at exactly that revision. Its operation is `put`.
   * Throws `key_not_found`, `revision_compacted`, `revision_in_future`.
   */
  get(
    bucket: string,
    key: string,
    revision: bigint,
    context: CallContext,
    consistency?: Consistency,
  ): Promise<Entry>;
  /**
   * Returns the values of 1 to 1,000 keys as of one revision of the bucket; 0: the newest. Throws `revision_compacted` if the state of a key
   * at the revision can't be proved, and `revision_in_future`.
   */
  batchGet(
    bucket: string,
    keys: readonly string[],
    revision: bigint,
    context: CallContext,
    consistency?: Consistency,
  ): Promise<KeyBatch>;
  /** Starts a scan. Ignores the context's deadline; ends when its signal aborts. */
  scan(bucket: string, options: ScanOptions, context: CallContext, consistency?: Consistency): Promise<Scan>;
  /**
   * Writes a value; returns its revision. Throws `key_exists`, `revision_mismatch`, `value_too_large`, `bucket_full`, `storage_exhausted`,
   * `ttl_not_supported`.
   */
  put(
    bucket: string,
    key: string,
    value: Uint8Array,
    options: PutOptions,
    context: CallContext,
  ): Promise<bigint>;
  /**
   * Writes the key's value again, with another TTL or none; returns the revision. Never replaces a value other than the one it wrote again.
   * Throws `key_not_found`, `revision_mismatch`, `bucket_full`, `storage_exhausted`, `ttl_not_supported`.
   */
  touch(bucket: string, key: string, options: TouchOptions, context: CallContext): Promise<bigint>;
  /** Writes a tombstone; returns its revision, or 0 if the key had no value and nothing was written. Throws `revision_mismatch`. */
  delete(bucket: string, key: string, options: DeleteOptions, context: CallContext): Promise<bigint>;
  /**
   * Applies all operations, or none. A key is written at most once and checked at most once. Deletes write a tombstone even if the key has
   * no value. The writes get consecutive revisions, in the order of the operations. Without writes, the checks hold together at the returned
   * revision. Throws as `put` and `delete`, with `operationIndex`, the key and its current revision; for `check_unchanged`, also
   * `revision_compacted` and `revision_in_future`; and `commit_unsupported`.
   */
  commit(
    bucket: string,
    operations: readonly CommitOperation[],
    options: Omit<WriteOptions, "condition">,
    context: CallContext,
  ): Promise<CommitResult>;
  /** Lists the live keys that match, in byte order. Each page is exact at one revision; pages of one list may differ in it. */
  listKeys(
    bucket: string,
    filters: readonly string[],
    page: PageRequest,
    context: CallContext,
    consistency?: Consistency,
  ): Promise<KeyPage>;
  /**
   * Lists the kept revisions of a key, oldest first. Without limit and token, returns all of them in one page, or throws
   * `answer_too_large` if they do not fit. Throws `key_not_found` if the first page would be empty.
   */
  history(
    bucket: string,
    key: string,
    page: PageRequest,
    context: CallContext,
    consistency?: Consistency,
  ): Promise<Page<Entry>>;
  /**
   * Writes entries in order, the first at revision `afterRevision` + 1. Writes tombstones even if the key has no value. If an entry is
   * refused or another client writes in between, writes only the entries before that. Throws `revision_mismatch` (with the bucket's
   * revision) if that is not `afterRevision`, and `value_too_large`, `bucket_full`, `storage_exhausted` or `ttl_not_supported` for the first
   * entry.
   */
  importEntries(
    bucket: string,
    afterRevision: bigint,
    entries: readonly ImportedEntry[],
    context: CallContext,
  ): Promise<ImportResult>;
  /**
   * Starts a watch. Resolves when it is active: it sees every later change. Ignores the context's deadline; ends when its signal aborts.
   * Throws `too_many_watches`, `revision_compacted`, `revision_in_future`.
   */
  watch(bucket: string, options: WatchOptions, context: CallContext): Promise<Watch>;

  /** Resolves when the storage answers; throws `unavailable` otherwise. */
  ping(context: CallContext): Promise<void>;
  /** The number of tombstones that this store has removed since it was created. */
  compactedTombstones(): number;
  keyIndexes(): KeyIndexStats;
  /** The bytes of entries that scans have reserved memory for, and the most that they ever had. */
  scanMemory(): { readonly reserved: number; readonly peak: number };
  /** The batches of group commit since the store was created; undefined if it is off. */
  groupCommits(): GroupCommitStats | undefined;
  /** The size of each bucket. Cheaper than `listBuckets`: does not count live keys. */
  sizes(context: CallContext): Promise<readonly BucketSize[]>;
  /** Ends every watch with `shutting_down` and releases the storage. */
  close(): Promise<void>;
}

/**
 * A bucket of the service itself, under a name that clients can't address. The methods have the contract of {@link Store}. Errors do not
 * name the bucket, because they may reach a client.
 */
export interface SystemBucket {
  /** Creates the bucket if it does not exist. */
  ensure(context: CallContext): Promise<void>;
  get(key: string, context: CallContext): Promise<Entry>;
  put(key: string, value: Uint8Array, condition: Condition, context: CallContext): Promise<bigint>;
  /** Purges a key; 0 if it had no value. With a revision, throws `revision_mismatch` even if the key no longer exists. */
  remove(
    key: string,
    condition: "always" | { readonly ifRevision: bigint },
    context: CallContext,
  ): Promise<bigint>;
  /** Emits the current values, then changes. */
  watch(context: CallContext): Promise<Watch>;
}

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

import type { KeyDeletion, KeyDeletionOptions } from "./key-deletion.js";
import type { BucketSize, GroupCommitStats, KeyIndexStats } from "./store-stats.js";
import type { BucketChange, BucketConfig, BucketInfo, CompactionResult } from "./bucket.js";
import type { CallContext } from "./call-context.js";
import type { Entry } from "./entry.js";
import type { Consistency, KeyBatch, KeyPage, Page, PageRequest, Scan, ScanOptions } from "./reads.js";
import type { Watch, WatchOptions } from "./watch.js";
import type {
  CommitOperation,
  CommitResult,
  Condition,
  DeleteOptions,
  ImportResult,
  ImportedEntry,
  PutOptions,
  TouchOptions,
  WriteOptions,
} from "./writes.js";

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
   * Deletes the live keys that match, in byte order, up to the page's limit and about half of the call's time. Deletes an entry only if it is
   * still the key's newest one, and not newer than the revision that the first page fixed. Throws `bucket_not_found` if the bucket was
   * recreated meanwhile. After another error, some keys may have been deleted; the call can be repeated.
   */
  deleteKeys(bucket: string, options: KeyDeletionOptions, context: CallContext): Promise<KeyDeletion>;
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
  /** The memory of lists, histories and batches, of all calls: what is reserved now, and the most that ever was. */
  pageMemory(): { readonly reserved: number; readonly peak: number };
  /** The batches of group commit since the store was created; undefined if it is off. */
  groupCommits(): GroupCommitStats | undefined;
  /** The size of each bucket. Cheaper than `listBuckets`: does not count live keys. */
  sizes(context: CallContext): Promise<readonly BucketSize[]>;
  /** Ends every watch with `shutting_down` and releases the storage. */
  close(): Promise<void>;
}

/** System buckets of which clients can create many. */
export interface BucketFamily {
  /** What their names begin with. */
  readonly prefix: string;
  readonly bucketsMax: number;
  /** Why another one is refused, where there are so many. */
  readonly sentence: (count: number) => string;
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
  /** Emits the current values, then changes. Default: of all keys, with values. */
  watch(context: CallContext, options?: Partial<Pick<WatchOptions, "filters" | "keysOnly">>): Promise<Watch>;
}

/** The SDK's methods on one bucket: reads, writes and watches of its keys. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { KeyValueService, type PutRequestSchema } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { acquireLease, type LeaseOptions } from "./acquire-lease.js";
import { AtomicOperation } from "./atomic-operation.js";
import {
  consistencyOf,
  DELETE_OPTIONS,
  type DeleteOptions,
  GET_OPTIONS,
  type GetOptions,
  type ManyEntries,
  PUT_OPTIONS,
  type PutOptions,
  READ_OPTIONS,
  type ReadOptions,
  TOUCH_OPTIONS,
  type TouchOptions,
  type WriteResult,
} from "./bucket-options.js";
import { CALL_OPTIONS, type CallOptions, type RpcClient } from "./rpc-client.js";
import { type Filters, filterList, type Revision, revisionOf, ttlOf, wellFormed } from "./convert.js";
import {
  DELETE_KEYS_OPTIONS,
  deleteKeys,
  type DeleteKeysOptions,
  type DeleteKeysResult,
} from "./delete-keys.js";
import { Entry } from "./entry.js";
import { KvError, KvNotFoundError } from "./errors.js";
import { getMany } from "./get-many.js";
import { importEntries, type ImportedEntry, type ImportResult } from "./import-entries.js";
import { withJson } from "./json.js";
import { checkOptions } from "./options.js";
import type { Lease } from "./lease.js";
import { pagesOf } from "./pages.js";
import { Scan, SCAN_OPTIONS, type ScanOptions } from "./scan.js";
import { type Storable, valueFields } from "./value.js";
import { startWatch } from "./watch.js";
import {
  type ChangeGroup,
  groupCommits,
  WATCH_COMMITS_OPTIONS,
  type WatchCommitsOptions,
} from "./watch-commits.js";
import {
  type ChangeEvent,
  type Watch,
  WATCH_OPTIONS,
  type WatchEvent,
  type WatchOptions,
} from "./watch-events.js";

/** Entries per page of a history. Without a limit, the service returns the complete history or an error. */
const HISTORY_PAGE_LIMIT = 64;

type Condition = NonNullable<MessageInitShape<typeof PutRequestSchema>["precondition"]>;

/**
 * Reads, writes and watches one bucket. Creating this object sends nothing and does not check that the bucket exists.
 *
 * Every method may throw KvInvalidArgumentError, KvNotFoundError (`bucket_not_found`), KvUnauthenticatedError and KvPermissionDeniedError
 * (do not retry), TypeError for an unknown option, and KvUnavailableError (retry later). Reads may throw KvTimeoutError (retry). Writes
 * are retried, and applied at most once; they throw KvUnknownOutcomeError if their outcome is still unknown at the time limit.
 */
export class Bucket {
  constructor(
    private readonly rpc: RpcClient,
    readonly name: string,
  ) {}

  toJSON(): { readonly name: string } {
    return { name: this.name };
  }

  /**
   * Writes a value unconditionally. Stores strings as UTF-8 text, Uint8Array and ArrayBuffer as their bytes, and everything else as JSON.
   * Throws KvResourceExhaustedError (`value_too_large`, `bucket_full`) and, for `undefined`, TypeError.
   */
  put(key: string, value: Storable, options: PutOptions = {}): Promise<WriteResult> {
    return this.write("put", key, value, undefined, options);
  }

  /** Writes a value if the key has none. Throws KvKeyExistsError, with the current revision. */
  create(key: string, value: Storable, options: PutOptions = {}): Promise<WriteResult> {
    return this.write("create", key, value, { condition: { case: "ifAbsent", value: true } }, options);
  }

  /** Writes a value if `revision` is the key's newest revision. Throws KvConflictError, with the current revision. */
  async update(
    key: string,
    value: Storable,
    revision: Revision,
    options: PutOptions = {},
  ): Promise<WriteResult> {
    const ifRevision = revisionOf(revision, "revision");
    const condition = { case: "ifRevision", value: ifRevision } as const;
    return await this.write("update", key, value, { condition }, options);
  }

  /**
   * Reads the newest value of a key, or the one written at `options.revision`. Throws KvNotFoundError (`key_not_found`), and for a revision
   * KvOutOfRangeError if it is no longer stored or not written yet.
   */
  async get(key: string, options: GetOptions = {}): Promise<Entry> {
    checkOptions(options, GET_OPTIONS, "get");
    const revision = options.revision === undefined ? 0n : revisionOf(options.revision, "revision");
    const request = { ...this.target(key), revision, consistency: consistencyOf(options) };
    const response = await this.rpc.unary(KeyValueService.method.get, request, options);
    if (response.entry === undefined) throw new KvError("The response has no entry.", { code: "internal" });
    this.rpc.recordRevision(this.name, response.entry.revision);
    return new Entry(response.entry);
  }

  /** Like `get`, but returns undefined if the key has no value. Still throws if the bucket does not exist. */
  async tryGet(key: string, options: GetOptions = {}): Promise<Entry | undefined> {
    try {
      return await this.get(key, options);
    } catch (error) {
      if (error instanceof KvNotFoundError && error.reason === "key_not_found") return undefined;
      throw error;
    }
  }

  /**
   * Gives a key another TTL, or none, and keeps its value, media type and metadata. Returns the new revision. A put that comes in between
   * is never undone. Throws KvNotFoundError (`key_not_found`), and KvConflictError if `ifRevision` is not the newest revision.
   */
  async touch(key: string, options: TouchOptions = {}): Promise<WriteResult> {
    checkOptions(options, TOUCH_OPTIONS, "touch");
    const request = {
      ...this.target(key),
      ifRevision: options.ifRevision === undefined ? 0n : revisionOf(options.ifRevision, "ifRevision"),
      idempotencyKey: options.idempotencyKey ?? this.rpc.newIdempotencyKey(),
      ...(options.ttlSeconds === undefined ? {} : { ttl: ttlOf(options.ttlSeconds) }),
    };
    const { revision } = await this.rpc.unary(KeyValueService.method.touch, request, options);
    return this.written(revision);
  }

  /**
   * Reads many keys at one revision of the bucket. Sends as many calls as the sizes of the values require, each for up to 1,000 keys; the
   * time limit applies to each. Throws KvOutOfRangeError (`revision_compacted`) if a key changed before the call that reads it, and the bucket
   * does not keep its history; this can't happen if one call suffices. With `options.revision`, the same if the state of a key at that revision
   * can't be proved.
   */
  async getMany(keys: readonly string[], options: GetOptions = {}): Promise<ManyEntries> {
    checkOptions(options, GET_OPTIONS, "getMany");
    return await getMany(this.rpc, this.name, keys, options);
  }

  /**
   * Streams the entries whose keys match, in byte order, at one revision of the bucket: `for await (const entry of bucket.scan(...))`. Has no
   * time limit. The loop throws KvOutOfRangeError (`revision_compacted`) if a value was overwritten before it was read and the bucket does not
   * keep its history (see `allowNewer`), and KvUnavailableError if the connection breaks: continue with `startKey`.
   */
  scan(options: ScanOptions = {}): Scan {
    checkOptions(options, SCAN_OPTIONS, "scan");
    return new Scan(this.rpc, this.name, options);
  }

  /**
   * Deletes a key; its earlier revisions stay in the history. Returns the tombstone's revision; 0n if the key had no value, which is not an
   * error. Throws KvConflictError if `ifRevision` is not the newest revision.
   */
  delete(key: string, options: DeleteOptions = {}): Promise<WriteResult> {
    return this.remove("delete", key, options);
  }

  /** Like `delete`, but also removes the history. */
  purge(key: string, options: DeleteOptions = {}): Promise<WriteResult> {
    return this.remove("purge", key, options);
  }

  /**
   * Deletes the keys that match, in as many calls as it takes; the time limit applies to each. Not atomic: if it throws, some keys are
   * deleted, and you can call it again. Never deletes an entry that is written after it began, or that changes meanwhile. At least one filter
   * is needed: `>` matches every key.
   */
  async deleteKeys(filters: Filters, options: DeleteKeysOptions = {}): Promise<DeleteKeysResult> {
    checkOptions(options, DELETE_KEYS_OPTIONS, "deleteKeys");
    return await deleteKeys(this.rpc, this.name, filterList(filters), options);
  }

  /** Lists the matching keys that have a value, in byte order. The time limit applies to each page of up to 10,000 keys. */
  async listKeys(filters: Filters = [], options: ReadOptions = {}): Promise<string[]> {
    checkOptions(options, READ_OPTIONS, "listKeys");
    const keys: string[] = [];
    for await (const page of this.keyPages(filters, options)) for (const key of page) keys.push(key);
    return keys;
  }

  /** Like `listKeys`, but yields one key at a time and holds one page in memory. */
  async *keys(filters: Filters = [], options: ReadOptions = {}): AsyncGenerator<string, undefined> {
    checkOptions(options, READ_OPTIONS, "keys");
    for await (const page of this.keyPages(filters, options)) yield* page;
  }

  /**
   * Lists the stored revisions of a key, oldest first, including deletes. Throws KvNotFoundError if there are none. The time limit applies
   * to each page of up to 64 revisions. Revisions that the bucket removes between pages may be missing.
   */
  async history(key: string, options: ReadOptions = {}): Promise<Entry[]> {
    checkOptions(options, READ_OPTIONS, "history");
    const request = { ...this.target(key), consistency: consistencyOf(options), limit: HISTORY_PAGE_LIMIT };
    const pages = pagesOf((pageToken) =>
      this.rpc.unary(KeyValueService.method.getHistory, { ...request, pageToken }, options),
    );
    const entries: Entry[] = [];
    for await (const page of pages) for (const entry of page.entries) entries.push(new Entry(entry));
    return entries;
  }

  /**
   * Waits until this client holds the lock, and returns it. The lock is a key of this bucket, which must have a `history` of 1. The SDK
   * renews it until it is released or lost. While another client holds it, the SDK watches the key. Pass `lock.fencingToken` to what the
   * lock protects, and stop the work when `lock.signal` aborts. Throws KvTimeoutError (`lease_held`) after `waitMs`.
   */
  lock(name: string, options: LeaseOptions = {}): Promise<Lease> {
    return acquireLease(this, "lock", name, options);
  }

  /**
   * Waits until this client is the leader, and returns its leadership. The same as `lock`, with `value` telling others who leads: they read
   * or watch the key. `release` resigns.
   */
  elect(name: string, options: LeaseOptions = {}): Promise<Lease> {
    return acquireLease(this, "elect", name, options);
  }

  /**
   * Writes 1 to 1,000 entries of another bucket in order, including deletes. They get consecutive revisions, from `afterRevision` + 1 on.
   * `afterRevision` is the bucket's revision before the call; 0n if nothing was ever written to it.
   *
   * If an entry is refused or another client writes meanwhile, only the entries before that are written, and the result says how many;
   * call again with the rest. Throws KvConflictError, with the bucket's revision, if that is not `afterRevision`: a repeated call is safe.
   * Throws KvUnknownOutcomeError if how many entries were written is unknown: read the bucket's revision.
   */
  async importEntries(
    entries: readonly ImportedEntry[],
    afterRevision: bigint,
    options: CallOptions = {},
  ): Promise<ImportResult> {
    checkOptions(options, CALL_OPTIONS, "importEntries");
    return await importEntries(this.rpc, this.name, entries, afterRevision, options);
  }

  /** Begins a commit: several operations that are applied together, or not at all. Sends nothing before its `commit()`. */
  atomic(): AtomicOperation {
    return new AtomicOperation(this.rpc, this.name);
  }

  /**
   * Streams changes in the order of their revisions, by default after a snapshot of the current values. If the connection breaks or the
   * service restarts, the watch resumes after the last revision. A watch has no time limit.
   *
   * The loop ends without an error when the signal aborts. It throws if the watch can't resume: KvNotFoundError if the bucket was
   * deleted, KvOutOfRangeError if changes that it has not seen are no longer stored, KvUnauthenticatedError, KvPermissionDeniedError.
   */
  watch(filters: Filters | undefined, options: WatchOptions & { readonly marks: true }): Watch<WatchEvent>;
  watch(filters?: Filters, options?: WatchOptions & { readonly marks?: false }): Watch<ChangeEvent>;
  watch(filters: Filters = [], options: WatchOptions = {}): Watch<WatchEvent> {
    checkOptions(options, WATCH_OPTIONS, "watch");
    return startWatch(this.rpc, this.name, filterList(filters), options);
  }

  /**
   * Like `watch`, but emits the changes of a commit together, so that you can apply them together. A commit whose last write the filters do
   * not match is emitted with the next change, or within `progressIntervalMs`.
   */
  watchCommits(filters: Filters = [], options: WatchCommitsOptions = {}): Watch<ChangeGroup> {
    checkOptions(options, WATCH_COMMITS_OPTIONS, "watchCommits");
    const marked = { ...options, marks: true } as const;
    return groupCommits(startWatch(this.rpc, this.name, filterList(filters), marked));
  }

  private async write(
    method: "put" | "create" | "update",
    key: string,
    value: Storable,
    precondition: Condition | undefined,
    options: PutOptions,
  ): Promise<WriteResult> {
    checkOptions(options, PUT_OPTIONS, method);
    const request: MessageInitShape<typeof PutRequestSchema> & { bucket: string; key: string } = {
      ...this.target(key),
      ...valueFields(value, options),
      idempotencyKey: options.idempotencyKey ?? this.rpc.newIdempotencyKey(),
    };
    if (precondition !== undefined) request.precondition = precondition;
    const { revision } = await this.rpc.unary(KeyValueService.method.put, request, options);
    return this.written(revision);
  }

  private async remove(
    method: "delete" | "purge",
    key: string,
    options: DeleteOptions,
  ): Promise<WriteResult> {
    checkOptions(options, DELETE_OPTIONS, method);
    const ifRevision = options.ifRevision === undefined ? 0n : revisionOf(options.ifRevision, "ifRevision");
    const idempotencyKey = options.idempotencyKey ?? this.rpc.newIdempotencyKey();
    const request = { ...this.target(key), purge: method === "purge", ifRevision, idempotencyKey };
    const { revision } = await this.rpc.unary(KeyValueService.method.delete, request, options);
    return this.written(revision);
  }

  private written(revision: bigint): WriteResult {
    this.rpc.recordRevision(this.name, revision);
    return withJson({ revision });
  }

  private async *keyPages(filters: Filters, options: ReadOptions): AsyncGenerator<string[], undefined> {
    const request = { bucket: this.name, filters: filterList(filters), consistency: consistencyOf(options) };
    const pages = pagesOf((pageToken) =>
      this.rpc.unary(KeyValueService.method.listKeys, { ...request, pageToken }, options),
    );
    for await (const page of pages) yield page.keys;
  }

  private target(key: string): { bucket: string; key: string } {
    return { bucket: this.name, key: wellFormed(key, "The key") };
  }
}

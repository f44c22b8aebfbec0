/** The keys of one bucket. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { KeyValueService, type PutRequestSchema } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { BackupService } from "../../../gen/ironflow/kv/v1/backup_service_pb.js";
import { Consistency } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { Caller, CallOptions } from "./caller.js";
import { type Revision, revisionOf, wellFormed } from "./convert.js";
import { Entry } from "./entry.js";
import { KvError, KvNotFoundError } from "./errors.js";
import { IMPORTED_OPERATION, type ImportedEntry, type ImportResult } from "./imported-entry.js";
import { encodeValue, type Storable } from "./value.js";
import { startWatch } from "./watch.js";
import type { ChangeEvent, Watch, WatchEvent, WatchOptions } from "./watch-events.js";

/** What a write did. */
export interface WriteResult {
  /** The revision of this write: give it to `update` for a write that only happens if nobody else wrote in between. */
  readonly revision: bigint;
}

export interface WriteOptions extends CallOptions {
  /**
   * 1 to 128 visible ASCII characters that stand for this very request, for retries of your own across processes: within the bucket's
   * `idempotencyWindowMs`, the same one again is not applied again, and another one is refused (`idempotency_key_reused`). Default: one
   * that makes the SDK's own retries harmless.
   */
  readonly idempotencyKey?: string | undefined;
}

export interface PutOptions extends WriteOptions {
  /** The media type to keep. Default: by the value, see {@link Bucket.put}. Empty: none. */
  readonly contentType?: string | undefined;
}

export interface ReadOptions extends CallOptions {
  /**
   * `strong`, the default: the read sees every write acknowledged before it. `eventual`: any copy of the bucket may answer, also one that
   * lags behind; cheaper on a cluster.
   */
  readonly consistency?: "strong" | "eventual" | undefined;
}

export interface GetOptions extends ReadOptions {
  /** The value that was written at exactly this revision. Default: the newest. */
  readonly revision?: Revision | undefined;
}

export interface DeleteOptions extends WriteOptions {
  /** Delete only if the key's newest revision is this one; else KvConflictError. Default: always. */
  readonly ifRevision?: Revision | undefined;
}

/** One filter or several: keys that match at least one. `user.*`, `user.>`, `user-*`; none: all keys. */
export type Filters = string | readonly string[];

/** The most entries that a page of a history may hold; without a limit the service answers with the whole, or refuses. */
const HISTORY_PAGE_LIMIT = 64;

type Condition = NonNullable<MessageInitShape<typeof PutRequestSchema>["precondition"]>;

/**
 * Reads, writes and watches one bucket. Making one sends nothing, and does not check that the bucket exists.
 *
 * Every method may throw KvInvalidArgumentError, KvNotFoundError (no such bucket), KvUnavailableError, KvUnauthenticatedError and
 * KvPermissionDeniedError; reads KvTimeoutError, and writes KvUnknownOutcomeError where their time ran out, or the connection broke, before
 * it could be found out what became of them: writes are sent again until then, and applied once.
 */
export class Bucket {
  constructor(
    private readonly caller: Caller,
    readonly name: string,
  ) {}

  /**
   * Writes a value, whatever was there. Strings are stored as UTF-8 text, Uint8Array and ArrayBuffer as their bytes, and everything else
   * as JSON. Throws KvResourceExhaustedError (`value_too_large`, `bucket_full`) and, for `undefined`, TypeError.
   */
  put(key: string, value: Storable, options: PutOptions = {}): Promise<WriteResult> {
    return this.write(key, value, undefined, options);
  }

  /** Writes a value if the key has none. Throws KvKeyExistsError, with the current revision. */
  create(key: string, value: Storable, options: PutOptions = {}): Promise<WriteResult> {
    return this.write(key, value, { condition: { case: "ifAbsent", value: true } }, options);
  }

  /** Writes a value if the key's newest revision is this one. Throws KvConflictError, with the current revision. */
  async update(
    key: string,
    value: Storable,
    revision: Revision,
    options: PutOptions = {},
  ): Promise<WriteResult> {
    const ifRevision = revisionOf(revision, "revision");
    return await this.write(key, value, { condition: { case: "ifRevision", value: ifRevision } }, options);
  }

  /** The newest value of a key, or the one of a revision. Throws KvNotFoundError, and for a revision KvOutOfRangeError. */
  async get(key: string, options: GetOptions = {}): Promise<Entry> {
    const revision = options.revision === undefined ? 0n : revisionOf(options.revision, "revision");
    const request = { ...this.place(key), revision, consistency: consistencyOf(options) };
    const response = await this.caller.unary(KeyValueService.method.get, request, options);
    if (response.entry === undefined) throw new KvError("The answer has no entry.", { code: "internal" });
    this.caller.noteRevision(this.name, response.entry.revision);
    return new Entry(response.entry);
  }

  /** As `get`, but undefined when the key has no value. A bucket that does not exist still throws. */
  async tryGet(key: string, options: GetOptions = {}): Promise<Entry | undefined> {
    try {
      return await this.get(key, options);
    } catch (error) {
      if (error instanceof KvNotFoundError && error.reason === "key_not_found") return undefined;
      throw error;
    }
  }

  /**
   * Deletes a key; its earlier revisions stay in the history. The revision is the tombstone's, or 0n when there was nothing to delete:
   * that is no error. Throws KvConflictError where `ifRevision` does not hold.
   */
  delete(key: string, options: DeleteOptions = {}): Promise<WriteResult> {
    return this.remove(key, false, options);
  }

  /** As `delete`, and the history goes too. */
  purge(key: string, options: DeleteOptions = {}): Promise<WriteResult> {
    return this.remove(key, true, options);
  }

  /** Every key that has a value and matches, in byte order. The time limit is for each page of up to 10,000. */
  async listKeys(filters: Filters = [], options: ReadOptions = {}): Promise<string[]> {
    const keys: string[] = [];
    for await (const page of this.keyPages(filters, options)) for (const key of page) keys.push(key);
    return keys;
  }

  /** As `listKeys`, one by one and fetched page by page: for more keys than should be held at once. */
  async *keys(filters: Filters = [], options: ReadOptions = {}): AsyncGenerator<string, undefined> {
    for await (const page of this.keyPages(filters, options)) yield* page;
  }

  /**
   * The revisions of a key that are still kept, oldest first, deletes included. Throws KvNotFoundError when there are none. A large history
   * is fetched page by page, and the time limit is for each page; what the bucket removes meanwhile is not returned.
   */
  async history(key: string, options: ReadOptions = {}): Promise<Entry[]> {
    const request = { ...this.place(key), consistency: consistencyOf(options), limit: HISTORY_PAGE_LIMIT };
    const entries: Entry[] = [];
    let pageToken = "";
    do {
      const page = { ...request, pageToken };
      const response = await this.caller.unary(KeyValueService.method.getHistory, page, options);
      for (const entry of response.entries) entries.push(new Entry(entry));
      pageToken = response.nextPageToken;
    } while (pageToken !== "");
    return entries;
  }

  /**
   * Writes entries as they stood in another bucket, deletes included, each under the next revision: the first under `afterRevision` + 1,
   * where 0n stands for a bucket that was never written to. All of them, or a first part where one is refused or somebody else writes in
   * between; call again with the rest. Throws KvConflictError, with the bucket's revision, where that is not `afterRevision`: so sending the
   * same again is safe. At most 1,000 entries.
   */
  async importEntries(
    entries: readonly ImportedEntry[],
    afterRevision: bigint,
    options: CallOptions = {},
  ): Promise<ImportResult> {
    const request = {
      bucket: this.name,
      afterRevision,
      entries: entries.map(({ key, value, operation, contentType }) => ({
        key: wellFormed(key, "The key"),
        value: encodeValue(value, undefined).bytes,
        operation: IMPORTED_OPERATION[operation],
        contentType,
      })),
    };
    return await this.caller.unary(BackupService.method.importEntries, request, {
      ...options,
      tellsDoubt: true,
    });
  }

  /**
   * Changes as they happen, in the order of their revisions: by default first the present values. When the connection breaks or the
   * service restarts, the watch resumes by itself after the last revision, for as long as it takes.
   *
   * The loop ends quietly when the signal aborts. It throws what can't be resumed: KvNotFoundError when the bucket is deleted,
   * KvOutOfRangeError when changes were lost to the bucket's limits, KvUnauthenticatedError, KvPermissionDeniedError.
   */
  watch(filters: Filters | undefined, options: WatchOptions & { readonly marks: true }): Watch<WatchEvent>;
  watch(filters?: Filters, options?: WatchOptions & { readonly marks?: false }): Watch<ChangeEvent>;
  watch(filters: Filters = [], options: WatchOptions = {}): Watch<WatchEvent> {
    return startWatch(this.caller, this.name, listOf(filters), options);
  }

  private async write(
    key: string,
    value: Storable,
    precondition: Condition | undefined,
    options: PutOptions,
  ): Promise<WriteResult> {
    const { bytes, contentType } = encodeValue(value, options.contentType);
    const request: MessageInitShape<typeof PutRequestSchema> & { bucket: string; key: string } = {
      ...this.place(key),
      value: bytes,
      contentType,
      idempotencyKey: options.idempotencyKey ?? this.caller.newIdempotencyKey(),
    };
    if (precondition !== undefined) request.precondition = precondition;
    const { revision } = await this.caller.unary(KeyValueService.method.put, request, options);
    this.caller.noteRevision(this.name, revision);
    return { revision };
  }

  private async remove(key: string, purge: boolean, options: DeleteOptions): Promise<WriteResult> {
    const ifRevision = options.ifRevision === undefined ? 0n : revisionOf(options.ifRevision, "ifRevision");
    const idempotencyKey = options.idempotencyKey ?? this.caller.newIdempotencyKey();
    const request = { ...this.place(key), purge, ifRevision, idempotencyKey };
    const { revision } = await this.caller.unary(KeyValueService.method.delete, request, options);
    this.caller.noteRevision(this.name, revision);
    return { revision };
  }

  private async *keyPages(filters: Filters, options: ReadOptions): AsyncGenerator<string[], undefined> {
    const request = { bucket: this.name, filters: listOf(filters), consistency: consistencyOf(options) };
    let pageToken = "";
    do {
      const page = { ...request, pageToken };
      const response = await this.caller.unary(KeyValueService.method.listKeys, page, options);
      yield response.keys;
      pageToken = response.nextPageToken;
    } while (pageToken !== "");
  }

  private place(key: string): { bucket: string; key: string } {
    return { bucket: this.name, key: wellFormed(key, "The key") };
  }
}

function consistencyOf({ consistency }: ReadOptions): Consistency {
  return consistency === "eventual" ? Consistency.EVENTUAL : Consistency.UNSPECIFIED;
}

function listOf(filters: Filters): string[] {
  const list = typeof filters === "string" ? [filters] : [...filters];
  return list.map((filter) => wellFormed(filter, "The filter"));
}

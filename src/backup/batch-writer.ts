/**
 * Writes entries to a bucket in order and in batches. One batch is in flight while the next one fills.
 *
 * Each call names the bucket's expected revision. The service writes a prefix of the call's entries at the following revisions, or nothing
 * if the expected revision is wrong. So after a failed call, the bucket shows which entries were applied, and none is written twice.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  ChangeEvent,
  type Entry,
  type ImportedEntry,
  type KeyValue,
  KvConflictError,
  KvError,
  KvNotFoundError,
  KvUnavailableError,
  KvUnknownOutcomeError,
} from "@ironflow-kv/client";
import { BackupRefusedError } from "./refused.js";

/** Well below the contract's 1,000 entries and the default 1.5 MiB message limit: a smaller batch is cheaper to retry. */
const BATCH_ENTRIES_MAX = 500;
const BATCH_BYTES_MAX = 256 * 1_024;
/** The approximate bytes of an entry besides its key, value and media type. */
const OVERHEAD_BYTES = 16;

/** Consecutive failed calls, none of them applied, before the import fails. */
const FAILURES_MAX = 10;
/** The same for conflicts with concurrent writers. */
const CONFLICTS_MAX = 200;
const RETRY_DELAY_MS = 500;

export interface BatchWriterOptions {
  readonly signal: AbortSignal;
  readonly onWritten?: (entries: number, bytes: number) => void;
}

export class BatchWriter {
  /** Entries known to be written. */
  written = 0;
  private batch: ImportedEntry[] = [];
  private batchBytes = 0;
  private sending: Promise<void> = Promise.resolve();
  /** The options of every call. */
  private readonly call: { readonly signal: AbortSignal };

  constructor(
    private readonly kv: KeyValue,
    private readonly bucket: string,
    /** The bucket's revision. */
    private revision: bigint,
    /** Whether other clients may write to the bucket. */
    private readonly isShared: boolean,
    private readonly options: BatchWriterOptions,
  ) {
    this.call = { signal: options.signal };
  }

  /** Adds an entry; waits if the batch is full and one is in flight. Throws the error of an earlier batch. */
  async put(entry: ImportedEntry): Promise<void> {
    const bytes = bytesOf(entry);
    if (this.batchBytes + bytes > BATCH_BYTES_MAX || this.batch.length === BATCH_ENTRIES_MAX)
      await this.sendBatch();
    this.batch.push(entry);
    this.batchBytes += bytes;
  }

  /** Resolves when all entries are written. */
  async flush(): Promise<void> {
    await this.sendBatch();
    await this.sending;
  }

  /** Throws BackupRefusedError if another client wrote to the bucket. */
  async checkUnmodified(): Promise<void> {
    const revision = await this.currentRevision();
    if (revision !== this.revision && !(await this.areExpiries(revision))) throw this.concurrentWriteError();
  }

  /** Whether the bucket's newest revision is this entry. */
  async isNewest(entry: ImportedEntry): Promise<boolean> {
    try {
      const newest = (await this.kv.bucket(this.bucket).history(entry.key, this.call)).at(-1);
      return newest?.revision === this.revision && isSame(newest, entry);
    } catch (error) {
      if (error instanceof KvNotFoundError) return false;
      throw error;
    }
  }

  private async sendBatch(): Promise<void> {
    await this.sending;
    const { batch } = this;
    if (batch.length === 0) return;
    this.batch = [];
    this.batchBytes = 0;
    this.sending = this.send(batch);
    // The next put() or flush() rethrows it.
    this.sending.catch(() => undefined);
  }

  private async send(batch: readonly ImportedEntry[]): Promise<void> {
    let rest = batch;
    let failures = 0;
    // Whether an earlier call with the same entries was applied, or still may be.
    let isUncertain = false;
    while (rest.length > 0) {
      try {
        const bucket = this.kv.bucket(this.bucket);
        const { imported, revision } = await bucket.importEntries(rest, this.revision, this.call);
        this.applied(rest, imported, revision);
        rest = rest.slice(imported);
        failures = 0;
        isUncertain = false;
      } catch (error) {
        this.options.signal.throwIfAborted();
        if (isBatchTooLarge(error) && rest.length > 1) {
          const half = Math.ceil(rest.length / 2);
          await this.send(rest.slice(0, half));
          await this.send(rest.slice(half));
          return;
        }
        const isConflict = error instanceof KvConflictError;
        if (!isOutcomeUncertain(error) || ++failures > (isConflict ? CONFLICTS_MAX : FAILURES_MAX))
          throw error;
        if (isConflict && !isUncertain) {
          await this.skipForeign(error.currentRevision);
          continue;
        }
        isUncertain = true;
        if (!isConflict) await delay(RETRY_DELAY_MS, undefined, { signal: this.options.signal });
        const imported = await this.resolveOutcome(rest);
        if (imported > 0) failures = 0;
        rest = rest.slice(imported);
      }
    }
  }

  private applied(entries: readonly ImportedEntry[], count: number, revision: bigint): void {
    const bytes = entries.slice(0, count).reduce((sum, { value }) => sum + value.length, 0);
    this.written += count;
    this.revision = revision;
    this.options.onWritten?.(count, bytes);
  }

  /** Another client wrote up to this revision. */
  private async skipForeign(revision: bigint): Promise<void> {
    if (!this.isShared && !(await this.areExpiries(revision))) throw this.concurrentWriteError();
    this.revision = revision;
  }

  /** Whether all revisions after this import's, up to this one, say that entries expired: of those that it wrote with a TTL. */
  private async areExpiries(through: bigint): Promise<boolean> {
    const found = await this.entriesFrom(this.revision + 1n, through + 1n);
    for (let revision = this.revision + 1n; revision <= through; revision++)
      if (found.get(revision)?.operation !== "expire") return false;
    return through > this.revision;
  }

  /**
   * Returns how many entries of an uncertain call were applied: those stored at their expected revisions. The call may still be applied
   * later; in that case the next call conflicts.
   */
  private async resolveOutcome(entries: readonly ImportedEntry[]): Promise<number> {
    const first = this.revision + 1n;
    const revision = await this.currentRevision();
    if (revision < first) return 0;
    const kept = await this.entriesFrom(first, first + BigInt(entries.length));
    let count = 0;
    for (const [index, entry] of entries.entries()) {
      const found = kept.get(first + BigInt(index));
      if (found !== undefined && isSame(found, entry)) count = index + 1;
      else if (found !== undefined) break;
    }
    this.applied(entries, count, this.revision + BigInt(count));
    if (this.revision < revision) {
      // A replaced revision leaves no trace: it may be one of this import's, or another client's.
      if (count < entries.length && !kept.has(this.revision + 1n)) throw this.concurrentWriteError();
      await this.skipForeign(revision);
    }
    return count;
  }

  private concurrentWriteError(): BackupRefusedError {
    return new BackupRefusedError(
      `Another client wrote to the bucket ${JSON.stringify(this.bucket)} during the import.`,
    );
  }

  private async currentRevision(): Promise<bigint> {
    return (await this.kv.getBucketInfo(this.bucket, this.call)).revision;
  }

  /** The stored revisions of a range, excluding `end`. */
  private async entriesFrom(first: bigint, end: bigint): Promise<ReadonlyMap<bigint, Entry>> {
    const kept = new Map<bigint, Entry>();
    const { signal } = this.options;
    const watch = this.kv.bucket(this.bucket).watch([], { signal, startRevision: first, marks: true });
    for await (const event of watch) {
      if (event.revision >= end || event.type === "snapshot_end") break;
      if (event instanceof ChangeEvent) kept.set(event.revision, event);
    }
    signal.throwIfAborted();
    return kept;
  }
}

/** Whether it is unknown how much of a call was applied. `unavailable` counts too: the SDK may have made earlier attempts. */
function isOutcomeUncertain(error: unknown): boolean {
  return (
    error instanceof KvConflictError ||
    error instanceof KvUnknownOutcomeError ||
    error instanceof KvUnavailableError ||
    (error instanceof KvError && error.code === "deadline_exceeded")
  );
}

/** Whether the batch exceeds the message limit of the service, of an older version (no reason) too. Other reasons are about a single entry. */
function isBatchTooLarge(error: unknown): boolean {
  return (
    error instanceof KvError &&
    error.code === "resource_exhausted" &&
    ["body_too_large", ""].includes(error.reason)
  );
}

function isSame(found: Entry, entry: ImportedEntry): boolean {
  // The service purges the key of an entry whose time is over.
  if (entry.expiresAt !== undefined && found.operation === "purge") return found.key === entry.key;
  return (
    found.key === entry.key &&
    found.operation === entry.operation &&
    found.contentType === entry.contentType &&
    Buffer.compare(found.value, entry.value) === 0
  );
}

function bytesOf({ key, value, contentType, metadata = {} }: ImportedEntry): number {
  const pairs = Object.entries(metadata);
  const metadataLength = pairs.reduce((sum, [name, text]) => sum + name.length + text.length, 0);
  // A character of text takes up to three bytes of UTF-8.
  const textBytes = 3 * (key.length + metadataLength) + contentType.length;
  return OVERHEAD_BYTES * (1 + pairs.length) + textBytes + value.length;
}

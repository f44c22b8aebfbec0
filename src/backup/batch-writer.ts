/**
 * Writes entries into a bucket in their order, many in one call, one call at a time while the next is filled.
 *
 * A call is applied from its first entry on, under the revisions that follow the one it names, and only if that is the bucket's. So
 * whatever became of a call that failed can be told from the bucket, and nothing is written twice.
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

/** The contract takes 1,000 entries, and messages of 1.5 MiB unless set: far below, as one call is one answer late on failure. */
const BATCH_ENTRIES_MAX = 500;
const BATCH_BYTES_MAX = 256 * 1_024;
/** What an entry takes beside its key, value and media type, roughly. */
const OVERHEAD_BYTES = 16;

/** How many times in a row a call may fail without any of it being applied. */
const FAILURES_MAX = 10;
/** The same, where others were quicker to write. */
const CONFLICTS_MAX = 200;
const FAILURE_PAUSE_MS = 500;

export interface BatchWriterOptions {
  readonly signal: AbortSignal;
  readonly onWritten?: (entries: number, bytes: number) => void;
}

export class BatchWriter {
  /** Entries that are written for certain. */
  written = 0;
  private batch: ImportedEntry[] = [];
  private batchBytes = 0;
  private sending: Promise<void> = Promise.resolve();

  constructor(
    private readonly kv: KeyValue,
    private readonly bucket: string,
    /** The bucket's revision. */
    private revision: bigint,
    /** Whether others write to it too. */
    private readonly isShared: boolean,
    private readonly options: BatchWriterOptions,
  ) {}

  /** Takes an entry; waits while too much is under way. Throws what an earlier one failed with. */
  async put(entry: ImportedEntry): Promise<void> {
    const bytes = bytesOf(entry);
    if (this.batchBytes + bytes > BATCH_BYTES_MAX || this.batch.length === BATCH_ENTRIES_MAX)
      await this.next();
    this.batch.push(entry);
    this.batchBytes += bytes;
  }

  /** Returns when all is written. */
  async flush(): Promise<void> {
    await this.next();
    await this.sending;
  }

  /** Throws where somebody else wrote to the bucket. */
  async checkUndisturbed(): Promise<void> {
    if ((await this.currentRevision()) !== this.revision) throw this.disturbed();
  }

  /** Whether the bucket's newest revision is this entry. */
  async isNewest(entry: ImportedEntry): Promise<boolean> {
    try {
      const newest = (await this.kv.bucket(this.bucket).history(entry.key, this.options)).at(-1);
      return newest?.revision === this.revision && isSame(newest, entry);
    } catch (error) {
      if (error instanceof KvNotFoundError) return false;
      throw error;
    }
  }

  private async next(): Promise<void> {
    await this.sending;
    const { batch } = this;
    if (batch.length === 0) return;
    this.batch = [];
    this.batchBytes = 0;
    this.sending = this.send(batch);
    // Told to whoever comes next.
    this.sending.catch(() => undefined);
  }

  private async send(batch: readonly ImportedEntry[]): Promise<void> {
    let rest = batch;
    let failures = 0;
    // Whether an earlier call with the same entries may have been applied, or may be yet.
    let isInDoubt = false;
    while (rest.length > 0) {
      try {
        const bucket = this.kv.bucket(this.bucket);
        const { imported, revision } = await bucket.importEntries(rest, this.revision, this.options);
        this.applied(rest, imported, revision);
        rest = rest.slice(imported);
        failures = 0;
        isInDoubt = false;
      } catch (error) {
        this.options.signal.throwIfAborted();
        if (isTooMuchAtOnce(error) && rest.length > 1) {
          const half = Math.ceil(rest.length / 2);
          await this.send(rest.slice(0, half));
          await this.send(rest.slice(half));
          return;
        }
        const isConflict = error instanceof KvConflictError;
        if (!isOpen(error) || ++failures > (isConflict ? CONFLICTS_MAX : FAILURES_MAX)) throw error;
        if (isConflict && !isInDoubt) {
          this.skipForeign(error.currentRevision);
          continue;
        }
        isInDoubt = true;
        if (!isConflict) await delay(FAILURE_PAUSE_MS, undefined, { signal: this.options.signal });
        const imported = await this.settle(rest);
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

  /** Somebody else wrote up to this revision. */
  private skipForeign(revision: bigint): void {
    if (!this.isShared) throw this.disturbed();
    this.revision = revision;
  }

  /**
   * How many of the entries of a call that may have been applied were: those that stand under the revisions that they were to get. The call
   * may still be applied later, in place of the next one or not at all.
   */
  private async settle(entries: readonly ImportedEntry[]): Promise<number> {
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
      // What was replaced since left no trace: it may have been one of ours, or somebody else's.
      if (count < entries.length && !kept.has(this.revision + 1n)) throw this.disturbed();
      this.skipForeign(revision);
    }
    return count;
  }

  private disturbed(): BackupRefusedError {
    return new BackupRefusedError(
      `Somebody else writes to the bucket ${JSON.stringify(this.bucket)} while it is imported.`,
    );
  }

  private async currentRevision(): Promise<bigint> {
    return (await this.kv.getBucketInfo(this.bucket, this.options)).revision;
  }

  /** What is kept of the revisions of a range, its end not included. */
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

/** Whether it is open how much of a call was applied; `unavailable` says nothing was, but an earlier try may have been. */
function isOpen(error: unknown): boolean {
  return (
    error instanceof KvConflictError ||
    error instanceof KvUnknownOutcomeError ||
    error instanceof KvUnavailableError ||
    (error instanceof KvError && error.code === "deadline_exceeded")
  );
}

/** The service takes smaller messages than most: what is refused for an entry has a reason. */
function isTooMuchAtOnce(error: unknown): boolean {
  return error instanceof KvError && error.code === "resource_exhausted" && error.reason === "";
}

function isSame(found: Entry, entry: ImportedEntry): boolean {
  return (
    found.key === entry.key &&
    found.operation === entry.operation &&
    found.contentType === entry.contentType &&
    Buffer.compare(found.value, entry.value) === 0
  );
}

function bytesOf({ key, value, contentType }: ImportedEntry): number {
  // A character of a key takes up to three bytes of UTF-8.
  return OVERHEAD_BYTES + 3 * key.length + value.length + contentType.length;
}

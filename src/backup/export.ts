/**
 * Copies buckets into a backup, each as it was at one revision, while other clients write to it.
 *
 * The export reads a bucket's history through a watch. A revision that is replaced during the export may be gone before it is read, so the
 * export can't promise the state at the revision where it started. Instead it follows the changes up to a revision T such that:
 * T was the bucket's revision at some moment after everything up to a revision B was read, and no revision from B + 1 to T is missing.
 * A revision up to B that the export missed was replaced before that moment, so by a revision up to T, which the backup has. The backup
 * therefore has everything that the bucket kept at T. It may also have older revisions; on restore, the history limit removes them.
 * If nobody writes to the bucket, T is the end of its history, and nothing more is read.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  type BucketInfo,
  ChangeEvent,
  type Entry,
  type KeyValue,
  KvOutOfRangeError,
  type WatchEvent,
} from "@ironflow-kv/client";
import type { Section } from "./ledger.js";
import { bucketFrame, entryFrame, isSameTime } from "./records.js";
import { BackupRefusedError } from "./refused.js";
import type { BackupWriter } from "./writer.js";

export interface ExportOptions {
  readonly signal: AbortSignal;
  /** Called for each bucket before its first entry. */
  readonly onBucket?: (info: BucketInfo) => void;
  /** Called for each entry. */
  readonly onEntry?: (entry: Entry) => void;
}

/** Copies the buckets that the backup's header names and that are not complete yet, then writes the footer. */
export async function exportBuckets(
  kv: KeyValue,
  writer: BackupWriter,
  options: ExportOptions,
): Promise<void> {
  const { ledger } = writer;
  const done = ledger.sections.filter(({ end }) => end !== undefined).length;
  for (const name of ledger.header?.buckets.slice(done) ?? []) await exportBucket(kv, name, writer, options);
  if (!ledger.isComplete) await writer.put(ledger.footer());
}

async function exportBucket(
  kv: KeyValue,
  name: string,
  writer: BackupWriter,
  options: ExportOptions,
): Promise<void> {
  const { ledger } = writer;
  const info = await kv.getBucketInfo(name, { signal: options.signal });
  if (ledger.open === undefined) await writer.put(bucketFrame(info));
  const section = ledger.open as Section;
  if (!isSameTime(section.begin.createdAt, info.createdAt)) {
    throw new BackupRefusedError(
      `The bucket ${JSON.stringify(name)} was deleted and recreated after this export started; start a new export.`,
    );
  }
  options.onBucket?.(info);
  const revision = await new BucketCopy(kv, info, section, writer, options).run();
  await writer.put(ledger.endOf(section, revision));
}

/** Consecutive failed connections before the export fails; it can be resumed. */
const FAILURES_MAX = 10;
/** How soon the export notices changes that leave no entry to read. */
const PROGRESS_INTERVAL_MS = 500;
/** Attempts to find a T without missing revisions. */
const ROUNDS_MAX = 1_000;
const ROUND_PAUSE_MS = 5;

class BucketCopy {
  /** Every revision up to this one that was still stored has been read. */
  private position: bigint;
  /** T; undefined before the history has been read. */
  private target: bigint | undefined;
  /** Whether a revision after B is missing. */
  private hasGap = false;
  private rounds = 0;

  constructor(
    private readonly kv: KeyValue,
    private readonly info: BucketInfo,
    section: Section,
    private readonly writer: BackupWriter,
    private readonly options: ExportOptions,
  ) {
    this.position = section.lastRevision;
  }

  /** Copies the bucket; returns the revision that the copy represents. */
  async run(): Promise<bigint> {
    let readsHistory = this.position === 0n;
    for (let failures = 1; ; failures++) {
      try {
        return await this.follow(readsHistory);
      } catch (error) {
        // With a TTL, changes during an interruption may have expired before they were read: read the complete history again.
        const isGone = error instanceof KvOutOfRangeError && error.reason === "revision_compacted";
        if (!isGone || failures > FAILURES_MAX) throw error;
        readsHistory = true;
      }
    }
  }

  /** Reads the history, or the changes after the position; skips what was already read. */
  private async follow(readsHistory: boolean): Promise<bigint> {
    const { signal } = this.options;
    this.target = undefined;
    const watch = this.kv.bucket(this.info.name).watch([], {
      signal,
      marks: true,
      progressIntervalMs: PROGRESS_INTERVAL_MS,
      failuresMax: FAILURES_MAX,
      ...(readsHistory
        ? { start: "history" }
        : { startRevision: this.position + 1n, bucketCreatedAt: this.info.createdAt }),
    });
    for await (const event of watch) {
      if (await this.handle(event)) return this.position;
    }
    signal.throwIfAborted();
    throw new Error("The watch ended without an error.");
  }

  /** Returns true if the copy is complete at the position. */
  private async handle(event: WatchEvent): Promise<boolean> {
    const { revision } = event;
    if (event instanceof ChangeEvent) {
      if (revision <= this.position) return false;
      if (this.target !== undefined) {
        if (revision !== this.position + 1n) this.hasGap = true;
        // The entry of the target revision is no longer stored, and this one is past it.
        if (revision > this.target && (await this.isComplete())) return true;
      }
      await this.copy(event);
    } else {
      if (this.target !== undefined && revision > this.position) this.hasGap = true;
      if (revision > this.position) this.position = revision;
      if (event.type === "snapshot_end" || this.target !== undefined) return await this.isComplete();
    }
    return this.target !== undefined && this.position >= this.target && (await this.isComplete());
  }

  /** Whether the position satisfies the conditions for T. If not, picks a new T. */
  private async isComplete(): Promise<boolean> {
    const { target, position } = this;
    if (target !== undefined && position < target && !this.hasGap) return false;
    if (target !== undefined && position === target && !this.hasGap) return true;
    if (++this.rounds > ROUNDS_MAX) {
      throw new BackupRefusedError(
        `Revisions of the bucket ${JSON.stringify(this.info.name)} are replaced faster than they can be read; try again when the bucket has less write traffic.`,
      );
    }
    if (this.rounds > 1) await delay(ROUND_PAUSE_MS);
    this.target = (await this.kv.getBucketInfo(this.info.name, { signal: this.options.signal })).revision;
    this.hasGap = false;
    return this.target <= position;
  }

  private async copy(entry: Entry): Promise<void> {
    await this.writer.put(entryFrame(entry, this.info.history === 1));
    this.position = entry.revision;
    this.options.onEntry?.(entry);
  }
}

/**
 * Copies buckets into a backup, each as it was at one revision, while others write to it.
 *
 * A bucket's history is read from its watch. What is replaced while the reading is under way may be gone before it is read, so the state
 * at the revision where the reading began can't be promised. Therefore it goes on with the changes until a revision T for which this holds:
 * T was the bucket's revision at some moment after everything up to a revision B was read, and of those from B + 1 to T none is missing.
 * What was missed up to B was replaced before that moment, hence by something up to T, and that is in the backup. So the backup has all
 * that the bucket kept at T; the older revisions that it may have besides are dropped by the history limit when it is restored.
 * In a bucket at rest, T is where the history ended, and nothing more is read.
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
  /** Told of each bucket before its first entry. */
  readonly onBucket?: (info: BucketInfo) => void;
  /** Told of each entry. */
  readonly onEntry?: (entry: Entry) => void;
}

/** Copies the buckets that the backup's header names and that it does not have yet, and writes its end. */
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
  const info = await kv.getBucketInfo(name, options);
  if (ledger.open === undefined) await writer.put(bucketFrame(info));
  const section = ledger.open as Section;
  if (!isSameTime(section.begin.createdAt, info.createdAt)) {
    throw new BackupRefusedError(
      `The bucket ${JSON.stringify(name)} was deleted and made again since this export began; begin a new one.`,
    );
  }
  options.onBucket?.(info);
  const revision = await new BucketCopy(kv, info, section, writer, options).run();
  await writer.put(ledger.endOf(section, revision));
}

/** How many times in a row the service may be out of reach before the export is given up; it can be resumed. */
const FAILURES_MAX = 10;
/** How soon changes that leave nothing to read are noticed. */
const PROGRESS_INTERVAL_MS = 500;
/** How often a moment without a missing revision is looked for. */
const ROUNDS_MAX = 1_000;
const ROUND_PAUSE_MS = 5;

class BucketCopy {
  /** Everything up to here was read, as far as it was there. */
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

  /** Copies; returns the revision that the copy shows. */
  async run(): Promise<bigint> {
    let isWhole = this.position === 0n;
    for (let failures = 1; ; failures++) {
      try {
        return await this.follow(isWhole);
      } catch (error) {
        // Where entries age, what happened while nobody watched may have left nothing to see. What is there is read once more.
        const isGone = error instanceof KvOutOfRangeError && error.reason === "revision_compacted";
        if (!isGone || failures > FAILURES_MAX) throw error;
        isWhole = true;
      }
    }
  }

  /** Reads the history, or what came after the position, and passes over what was read before. */
  private async follow(isWhole: boolean): Promise<bigint> {
    const { signal } = this.options;
    this.target = undefined;
    const watch = this.kv.bucket(this.info.name).watch([], {
      signal,
      marks: true,
      progressIntervalMs: PROGRESS_INTERVAL_MS,
      failuresMax: FAILURES_MAX,
      ...(isWhole
        ? { start: "history" }
        : { startRevision: this.position + 1n, bucketCreatedAt: this.info.createdAt }),
    });
    for await (const event of watch) {
      if (await this.take(event)) return this.position;
    }
    signal.throwIfAborted();
    throw new Error("The watch ended without a word.");
  }

  /** Takes an event; true: the copy is complete at the position. */
  private async take(event: WatchEvent): Promise<boolean> {
    const { revision } = event;
    if (event instanceof ChangeEvent) {
      if (revision <= this.position) return false;
      if (this.target !== undefined) {
        if (revision !== this.position + 1n) this.hasGap = true;
        // The target itself left nothing to read; this revision is past it.
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

  /** Whether the position will do for T. If not, a new T is looked for. */
  private async isComplete(): Promise<boolean> {
    const { target, position } = this;
    if (target !== undefined && position < target && !this.hasGap) return false;
    if (target !== undefined && position === target && !this.hasGap) return true;
    if (++this.rounds > ROUNDS_MAX) {
      throw new BackupRefusedError(
        `Revisions of the bucket ${JSON.stringify(this.info.name)} go away faster than they can be read; try again when less is written.`,
      );
    }
    if (this.rounds > 1) await delay(ROUND_PAUSE_MS);
    this.target = (await this.kv.getBucketInfo(this.info.name, this.options)).revision;
    this.hasGap = false;
    return this.target <= position;
  }

  private async copy(entry: Entry): Promise<void> {
    await this.writer.put(entryFrame(entry));
    this.position = entry.revision;
    this.options.onEntry?.(entry);
  }
}

/**
 * A bucket that a backup is restored into.
 *
 * A bucket that the import creates has a mark in its description until it is complete. The mark names the backup. It warns users that the
 * bucket is incomplete, and identifies the bucket to a resumed import. Because no other client writes to the bucket, its revision is the
 * number of restored entries, and a resumed import continues after exactly those. The import sets limits and TTL at the end: earlier, they
 * could refuse or remove entries of the backup.
 */
import type { BackupEntry, BucketBegin } from "../../gen/ironflow/kv/backup/v1/backup_pb.js";
import type { BucketInfo, KeyValue } from "@ironflow-kv/client";
import { BatchWriter } from "./batch-writer.js";
import type { Section } from "./ledger.js";
import { hasSettings, importedEntryOf, settingsOf } from "./records.js";
import { BackupRefusedError } from "./refused.js";

export interface TargetOptions {
  readonly signal: AbortSignal;
  /** Resume buckets that an earlier import of this backup left incomplete; skip those that it completed. */
  readonly isResumed: boolean;
  /** Add the entries to buckets that already have entries; keep their settings. */
  readonly isIntoExisting: boolean;
  /** Skip this many entries. */
  readonly skip: number;
  /** Called with the entries and value bytes written. */
  readonly onWritten?: (entries: number, bytes: number) => void;
}

/** `new`: to be created. `own`: created by an import of this backup. `done`: completed by one. `shared`: other clients may write to it. */
export interface TargetPlan {
  readonly kind: "new" | "empty" | "own" | "done" | "shared";
  readonly name: string;
  readonly mark: string;
  /** The bucket's revision now. */
  readonly revision: bigint;
  readonly history: number;
}

/** `running`: in progress, or stopped. `untouched`: already complete. `part`: the backup ends within this bucket. */
export type TargetState = "running" | "complete" | "untouched" | "part";

/** Decides how to restore into a bucket. Throws BackupRefusedError. `section`: the backup's section for it, if known. */
export function planTarget(
  name: string,
  info: BucketInfo | undefined,
  backupId: string,
  section: Section | undefined,
  options: TargetOptions,
): TargetPlan {
  // A resumed import compares this sentence, possibly one of an earlier version: it must not change.
  const mark = `Not complete: an import of the backup ${backupId} is under way or was interrupted.`;
  const plan = (kind: TargetPlan["kind"]): TargetPlan => ({
    kind,
    name,
    mark,
    revision: info?.revision ?? 0n,
    history: info?.history ?? 0,
  });
  const bucket = `The bucket ${JSON.stringify(name)}`;
  if (info === undefined) return plan("new");
  if (info.description === mark) {
    if (options.isResumed) return plan("own");
    throw new BackupRefusedError(
      `${bucket} is the result of an interrupted import of this backup; resume it with --resume, or delete the bucket.`,
    );
  }
  if (info.revision === 0n) return plan("empty");
  if (options.isIntoExisting) {
    checkHistory(plan("shared"), section?.begin);
    return plan("shared");
  }
  if (options.isResumed && section !== undefined && isDone(info, section)) return plan("done");
  throw new BackupRefusedError(
    options.isResumed
      ? `${bucket} exists and was not created by an import of this backup; name the buckets to import, or delete it.`
      : `${bucket} exists and was written to; delete it, or add to it with --into-existing.`,
  );
}

/** Creates or prepares the bucket. */
export async function adoptTarget(
  kv: KeyValue,
  plan: TargetPlan,
  begin: BucketBegin,
  options: TargetOptions,
): Promise<ImportTarget> {
  const { name, mark: description } = plan;
  const { history } = begin;
  const call = { signal: options.signal };
  if (plan.kind === "new") await kv.createBucket({ name, description, history }, call);
  if (plan.kind === "empty") {
    await kv.updateBucket(name, { description, history, ttlSeconds: 0, maxValueSize: 0, maxBytes: 0 }, call);
  }
  if (plan.kind === "shared") checkHistory(plan, begin);
  return new ImportTarget(kv, plan, begin, options);
}

export class ImportTarget {
  state: TargetState;
  /** Entries read from the backup, except expiries. */
  private seen = 0;
  private readonly skip: number;
  private readonly writer: BatchWriter;

  constructor(
    private readonly kv: KeyValue,
    private readonly plan: TargetPlan,
    private readonly begin: BucketBegin,
    private readonly options: TargetOptions,
  ) {
    const { kind, name, revision } = plan;
    this.state = kind === "done" ? "untouched" : "running";
    this.skip = kind === "own" ? Number(revision) : options.skip;
    this.writer = new BatchWriter(kv, name, revision, kind === "shared", options);
  }

  get name(): string {
    return this.plan.name;
  }

  /** The number of the backup's entries that the bucket has. */
  get entries(): number {
    if (this.state === "untouched") return this.seen;
    return Math.min(this.skip, this.seen) + this.writer.written;
  }

  async add(entry: BackupEntry): Promise<void> {
    const imported = importedEntryOf(entry);
    if (imported === undefined) return;
    this.seen++;
    if (this.state === "untouched" || this.seen < this.skip) return;
    if (this.seen > this.skip) await this.writer.put(imported);
    else if (this.plan.kind === "own" && !(await this.writer.isNewest(imported)))
      throw this.foreignEntryError();
  }

  /** Completes the bucket after its last entry in the backup. */
  async end(state: "complete" | "part"): Promise<void> {
    if (this.state === "untouched") return;
    await this.writer.flush();
    if (this.plan.kind !== "shared") {
      if (this.seen < this.skip) throw this.foreignEntryError();
      await this.writer.checkUnmodified();
      await this.kv.updateBucket(this.name, settingsOf(this.begin), { signal: this.options.signal });
    }
    this.state = state;
  }

  private foreignEntryError(): BackupRefusedError {
    return new BackupRefusedError(
      `The bucket ${JSON.stringify(this.name)} has entries that are not in this backup: another client wrote to it. Delete it, and import it again.`,
    );
  }
}

function isDone(info: BucketInfo, section: Section): boolean {
  return info.revision === BigInt(section.writes) && hasSettings(info, settingsOf(section.begin));
}

/** Refuses a bucket whose history is too shallow for the backup. */
function checkHistory({ name, history }: TargetPlan, begin: BucketBegin | undefined): void {
  if (begin === undefined || begin.history <= history) return;
  throw new BackupRefusedError(
    `The bucket ${JSON.stringify(name)} keeps ${history} revisions per key, and the backup has up to ${begin.history}; change it with: bucket update ${name} --history ${begin.history}`,
  );
}

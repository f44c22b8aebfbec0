/**
 * A bucket that a backup is written into.
 *
 * A bucket that the import makes bears a mark in its description until it is complete. It names the backup, so that nobody takes the bucket
 * for whole, and a resumed import knows it for its own. Nobody else writes to it, hence its revision says how many entries it has got, and
 * the import goes on after exactly these, whatever ended it. Limits and life time are set at the end: before, they could refuse or
 * remove what the backup has.
 */
import type { BackupEntry, BucketBegin } from "../../gen/ironflow/kv/backup/v1/backup_pb.js";
import type { BucketInfo, KeyValue } from "@ironflow-kv/client";
import { BatchWriter } from "./batch-writer.js";
import type { Section } from "./ledger.js";
import { hasSettings, importedEntryOf, settingsOf } from "./records.js";
import { BackupRefusedError } from "./refused.js";

export interface TargetOptions {
  readonly signal: AbortSignal;
  /** Go on with buckets that an earlier import of this backup left incomplete, and pass over those that it completed. */
  readonly isResumed: boolean;
  /** Add the entries to buckets that have some already; their settings stay. */
  readonly isIntoExisting: boolean;
  /** Pass over the first so many entries. */
  readonly skip: number;
  /** Told of entries and bytes of values that were written. */
  readonly onWritten?: (entries: number, bytes: number) => void;
}

/** `new`: to be made. `own`: made by an import of this backup. `done`: completed by one. `shared`: others write to it too. */
export interface TargetPlan {
  readonly kind: "new" | "empty" | "own" | "done" | "shared";
  readonly name: string;
  readonly mark: string;
  /** The bucket's revision now. */
  readonly revision: bigint;
  readonly history: number;
}

/** `running`: or stopped. `untouched`: it was complete before. `part`: the backup has no more of it. */
export type TargetState = "running" | "complete" | "untouched" | "part";

/** What can be done with a bucket. Throws BackupRefusedError. `section`: what the backup has of it, where that is known. */
export function planTarget(
  name: string,
  info: BucketInfo | undefined,
  backupId: string,
  section: Section | undefined,
  options: TargetOptions,
): TargetPlan {
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
      `${bucket} is what an interrupted import of this backup left; go on with --resume, or delete it.`,
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
      ? `${bucket} exists and is not what an import of this backup left or completed; name the buckets to import, or delete it.`
      : `${bucket} exists and was written to. Delete it first, or add to it with --into-existing.`,
  );
}

/** Makes the bucket ready. */
export async function adoptTarget(
  kv: KeyValue,
  plan: TargetPlan,
  begin: BucketBegin,
  options: TargetOptions,
): Promise<ImportTarget> {
  const { name, mark: description } = plan;
  const { history } = begin;
  if (plan.kind === "new") await kv.createBucket({ name, description, history }, options);
  if (plan.kind === "empty") {
    await kv.updateBucket(
      name,
      { description, history, ttlSeconds: 0, maxValueSize: 0, maxBytes: 0 },
      options,
    );
  }
  if (plan.kind === "shared") checkHistory(plan, begin);
  return new ImportTarget(kv, plan, begin, options);
}

export class ImportTarget {
  state: TargetState;
  /** Entries of the backup that came, and that an import writes. */
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

  /** How many of the backup's entries the bucket has. */
  get entries(): number {
    if (this.state === "untouched") return this.seen;
    return Math.min(this.skip, this.seen) + this.writer.written;
  }

  async take(entry: BackupEntry): Promise<void> {
    const imported = importedEntryOf(entry);
    if (imported === undefined) return;
    this.seen++;
    if (this.state === "untouched" || this.seen < this.skip) return;
    if (this.seen > this.skip) await this.writer.put(imported);
    else if (this.plan.kind === "own" && !(await this.writer.isNewest(imported))) throw this.foreign();
  }

  /** The backup has no more of this bucket. */
  async end(state: "complete" | "part"): Promise<void> {
    if (this.state === "untouched") return;
    await this.writer.flush();
    if (this.plan.kind !== "shared") {
      if (this.seen < this.skip) throw this.foreign();
      await this.writer.checkUndisturbed();
      await this.kv.updateBucket(this.name, settingsOf(this.begin), this.options);
    }
    this.state = state;
  }

  private foreign(): BackupRefusedError {
    return new BackupRefusedError(
      `The bucket ${JSON.stringify(this.name)} has what is not of this backup: somebody else wrote to it. Delete it, and import it anew.`,
    );
  }
}

function isDone(info: BucketInfo, section: Section): boolean {
  return info.revision === BigInt(section.writes) && hasSettings(info, settingsOf(section.begin));
}

/** A shallower history would drop what the backup has. */
function checkHistory({ name, history }: TargetPlan, begin: BucketBegin | undefined): void {
  if (begin === undefined || begin.history <= history) return;
  throw new BackupRefusedError(
    `The bucket ${JSON.stringify(name)} keeps ${history} of each key's revisions, the backup has up to ${begin.history}. Change it first: bucket update ${name} --history ${begin.history}`,
  );
}

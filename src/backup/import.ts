/** Restores a backup bucket by bucket. import-target.ts handles a single bucket. */
import { type KeyValue, KvNotFoundError } from "@ironflow-kv/client";
import { BackupError, type Frame } from "./format.js";
import {
  adoptTarget,
  type ImportTarget,
  planTarget,
  type TargetOptions,
  type TargetPlan,
} from "./import-target.js";
import type { Ledger, Section } from "./ledger.js";
import { BackupRefusedError } from "./refused.js";

export interface ImportOptions extends TargetOptions {
  /** The buckets to import. Empty: all buckets of the backup. */
  readonly buckets: readonly string[];
  /** The backup's sections, if it was inspected before. */
  readonly sections: readonly Section[] | undefined;
  /** Import the intact part of a truncated or damaged backup. */
  readonly isSalvage: boolean;
}

/** Runs an import; `targets` shows its progress, even after a failure. */
export class BackupImport {
  readonly targets: ImportTarget[] = [];
  private readonly plans = new Map<string, TargetPlan>();

  constructor(
    private readonly kv: KeyValue,
    private readonly options: ImportOptions,
  ) {}

  /** Imports the frames. The ledger is the one that `frames` updates. */
  async run(frames: AsyncIterable<Frame>, ledger: Ledger): Promise<void> {
    let target: ImportTarget | undefined;
    try {
      for await (const { record } of frames) {
        const { case: kind, value } = record.record;
        this.options.signal.throwIfAborted();
        if (kind === "header") await this.plan(value.backupId, value.buckets);
        else if (kind === "bucketBegin") target = await this.begin(ledger);
        else if (kind === "entry") await target?.add(value);
        else if (kind === "bucketEnd") await target?.end("complete");
      }
    } catch (error) {
      const isSalvaged =
        this.options.isSalvage && error instanceof BackupError && ledger.header !== undefined;
      if (!isSalvaged) throw error;
      if (ledger.open !== undefined) await target?.end("part");
    }
  }

  /** Checks, before anything is written, that the backup has the requested buckets and that each may be restored. */
  private async plan(backupId: string, names: readonly string[]): Promise<void> {
    const { buckets, sections, signal } = this.options;
    const missing = buckets.find((name) => !names.includes(name));
    if (missing !== undefined) {
      throw new BackupRefusedError(`The backup has no bucket ${JSON.stringify(missing)}.`);
    }
    for (const name of buckets.length > 0 ? buckets : names) {
      const info = await this.kv.getBucketInfo(name, { signal }).catch((error: unknown) => {
        if (error instanceof KvNotFoundError) return undefined;
        throw error;
      });
      const section = sections?.find(({ begin }) => begin.name === name);
      this.plans.set(name, planTarget(name, info, backupId, section, this.options));
    }
  }

  private async begin({ open }: Ledger): Promise<ImportTarget | undefined> {
    const plan = open === undefined ? undefined : this.plans.get(open.begin.name);
    if (open === undefined || plan === undefined) return undefined;
    const target = await adoptTarget(this.kv, plan, open.begin, this.options);
    this.targets.push(target);
    return target;
  }
}

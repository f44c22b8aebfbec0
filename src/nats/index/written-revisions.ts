/**
 * The newest revision of each bucket that a caller of this process was told. Where nobody else writes, an index that has it has every
 * acknowledged write.
 */
export class WrittenRevisions {
  private readonly byBucket = new Map<string, Written>();

  /** What was known when a call began: pass it to {@link note}. */
  begin(bucket: string): Written | undefined {
    return this.byBucket.get(bucket);
  }

  /** A caller is told this revision. */
  note(bucket: string, before: Written | undefined, revision: bigint): void {
    const sequence = Number(revision);
    const written = this.byBucket.get(bucket);
    if (written === undefined) {
      // Otherwise the bucket was deleted during the call.
      if (before === undefined) this.byBucket.set(bucket, { newest: sequence });
    } else if (sequence > written.newest && (before === undefined || before === written)) {
      written.newest = sequence;
    }
  }

  newest(bucket: string): number {
    return this.byBucket.get(bucket)?.newest ?? 0;
  }

  /** The bucket was deleted: another one of its name begins with revision 1. */
  forget(bucket: string): void {
    this.byBucket.delete(bucket);
  }
}

export interface Written {
  newest: number;
}

/** How many subjects an index knew after each of its last changes, to compare with what the stream says of itself a moment later. */

const CHANGES_KEPT = 64;

export class SubjectCounts {
  private readonly revisions = new Float64Array(CHANGES_KEPT);
  private readonly counts = new Float64Array(CHANGES_KEPT);

  note(revision: number, count: number): void {
    this.revisions[revision % CHANGES_KEPT] = revision;
    this.counts[revision % CHANGES_KEPT] = count;
  }

  /** The count after the change of this revision; undefined where it is not known any more. */
  at(revision: number): number | undefined {
    return this.revisions[revision % CHANGES_KEPT] === revision
      ? this.counts[revision % CHANGES_KEPT]
      : undefined;
  }

  /** Subjects that were counted are gone since. */
  subtract(gone: number): void {
    for (let index = 0; index < CHANGES_KEPT; index++) this.counts[index] = (this.counts[index] ?? 0) - gone;
  }
}

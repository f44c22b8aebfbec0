/**
 * Compares how many subjects an index knows with how many the stream reports: equal numbers prove that nothing was removed without a message,
 * such as by a purge of the stream.
 */
import type { Checked } from "./checked.js";
import type { IndexState } from "./index-state.js";

/** The stream describes itself a moment later: the counts after so many changes are known. */
const CHANGES_KEPT = 64;

export class SubjectCheck {
  /** Whether the numbers were found to be equal. */
  isVerified = false;
  /** Subjects that the stream has less than the index, where that was accepted. */
  accepted = 0;
  /** By revision modulo {@link CHANGES_KEPT}: the revision of a change, and the number of subjects after it. */
  private readonly revisions = new Float64Array(CHANGES_KEPT);
  private readonly counts = new Float64Array(CHANGES_KEPT);

  /** `acceptsDifference`: see `BucketIndexOptions`. */
  constructor(
    private readonly state: IndexState,
    private readonly acceptsDifference: boolean,
  ) {}

  /** Notes the number of subjects after a change. */
  note(revision: number, count: number): void {
    this.revisions[revision % CHANGES_KEPT] = revision;
    this.counts[revision % CHANGES_KEPT] = count;
  }

  /** The number after the change of this revision; undefined where it is no longer known. */
  at(revision: number): number | undefined {
    return this.revisions[revision % CHANGES_KEPT] === revision
      ? this.counts[revision % CHANGES_KEPT]
      : undefined;
  }

  /** Subjects that were counted are gone since. */
  subtract(gone: number): void {
    for (let index = 0; index < CHANGES_KEPT; index++) this.counts[index] = (this.counts[index] ?? 0) - gone;
  }

  /** Whether the index, which is at the revision, has as many subjects as the stream; undefined: that can't be said now. */
  agrees({ subjects, lastSequence }: Checked, revision: number): boolean | undefined {
    const known = this.knownAt(lastSequence, revision);
    if (known === undefined) return undefined;
    const more = known - this.accepted - subjects;
    const { expiredCount } = this.state.others;
    if (more === 0 || more === expiredCount) return true;
    // The server is removing what has expired.
    return more > 0 && more < expiredCount ? undefined : false;
  }

  /** The same, and forgets tombstones that were compacted. Returns why the index does not describe the bucket. */
  verify(checked: Checked, revision: number): string | undefined {
    const { subjects, lastSequence, compactedTo } = checked;
    const known = this.knownAt(lastSequence, revision);
    if (known === undefined) return undefined;
    const gone = known - this.accepted - subjects;
    if (gone >= 0 && gone <= this.state.others.removable(compactedTo)) {
      this.isVerified = true;
      if (gone > 0) void this.forgetCompacted(compactedTo, gone);
    } else if (this.acceptsDifference && !this.isVerified) {
      this.isVerified = true;
      this.accepted = gone;
    } else {
      return `the stream has ${subjects} subjects and not ${known - this.accepted}`;
    }
    return undefined;
  }

  private knownAt(sequence: number, revision: number): number | undefined {
    return sequence === revision ? this.state.subjects : this.at(sequence);
  }

  private async forgetCompacted(compactedTo: number, gone: number): Promise<void> {
    this.subtract(await this.state.others.forgetCompacted(compactedTo, gone));
  }
}

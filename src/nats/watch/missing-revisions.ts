/** Counts the revisions that were removed before a catch-up could read them. Ends the watch if a tombstone may be among them. */
import { KvError } from "../../kv/errors.js";
import type { Source } from "./source.js";
import type { Watcher } from "./watcher.js";

export class MissingRevisions {
  /** Missing revisions up to here were counted, or are older than the watch. */
  private countedTo: number;
  /** Tombstones up to here were read, or are older than the watch. */
  private readFrom: number;

  /** Counts revisions higher than `after`. `compactedTo`: tombstones up to this revision were compacted before the watch began. */
  constructor(
    private readonly watcher: Watcher,
    private readonly source: Source,
    /** Whether the reader reads every key: then each gap in its revisions is missing revisions. */
    private readonly isUnfiltered: boolean,
    after: number,
    compactedTo: number,
  ) {
    this.countedTo = after;
    this.readFrom = Math.max(after, compactedTo);
  }

  /** The reader has read everything that is stored before this revision. */
  hasReadBefore(revision: number): void {
    if (!this.isUnfiltered) return;
    this.watcher.omit(this.countedTo + 1, revision - 1);
    this.countedTo = Math.max(this.countedTo, revision - 1);
  }

  /** The watcher reached its position from memory, which counts missing revisions itself. */
  replayed(): void {
    this.countedTo = Math.max(this.countedTo, this.watcher.position);
    this.readFrom = Math.max(this.readFrom, this.watcher.position);
  }

  /**
   * Everything that is stored up to this revision was read. Throws `revision_compacted` if a tombstone may have been removed before the
   * reader reached it. Returns false if the storage does not answer.
   */
  async hasRead(through: number): Promise<boolean> {
    try {
      if (this.readFrom < through) await this.source.checkNotCompacted(this.readFrom);
      await this.count(through);
    } catch (error) {
      if (error instanceof KvError && error.kind === "unavailable") return false;
      throw error;
    }
    this.readFrom = Math.max(this.readFrom, through);
    return true;
  }

  private async count(through: number): Promise<void> {
    const { watcher, source } = this;
    const from = this.countedTo + 1;
    if (through < from) return;
    if (this.isUnfiltered) {
      watcher.omit(from, through);
    } else {
      const count = await source.missingAtMost(from, through);
      watcher.advance(through);
      watcher.countOmitted(from, through, count);
    }
    this.countedTo = through;
  }
}

/** What a catch-up did not see because it was gone: revisions are counted, and a compacted tombstone ends the watch. */
import { KvError } from "../../kv/errors.js";
import type { Source } from "./source.js";
import type { Watcher } from "./watcher.js";

export class Accounting {
  /** Up to here, revisions that are gone were counted, or do not count. */
  private countedTo: number;
  /** Tombstones up to here are not missed: they were read, or are older than the watch. */
  private readFrom: number;

  /** `after`: where what counts begins. `compactedTo`: up to which revision tombstones were compacted when the watch began. */
  constructor(
    private readonly watcher: Watcher,
    private readonly source: Source,
    /** Whether the reader brings every key: then a gap in what it brings is what is gone. */
    private readonly isUnfiltered: boolean,
    after: number,
    compactedTo: number,
  ) {
    this.countedTo = after;
    this.readFrom = Math.max(after, compactedTo);
  }

  /** The reader has brought everything that is stored before this revision. */
  comesTo(revision: number): void {
    if (!this.isUnfiltered) return;
    this.watcher.passOver(this.countedTo + 1, revision - 1);
    this.countedTo = Math.max(this.countedTo, revision - 1);
  }

  /** The watcher was brought to its position from memory, which says itself what is gone. */
  replayed(): void {
    this.countedTo = Math.max(this.countedTo, this.watcher.position);
    this.readFrom = Math.max(this.readFrom, this.watcher.position);
  }

  /**
   * Everything that is stored up to this revision was read. Throws `revision_compacted` where a tombstone may have gone before the reader
   * came to it. False: the storage did not answer.
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
      watcher.passOver(from, through);
    } else {
      const count = await source.missingAtMost(from, through);
      watcher.advance(through);
      watcher.countPassedOver(from, through, count);
    }
    this.countedTo = through;
  }
}

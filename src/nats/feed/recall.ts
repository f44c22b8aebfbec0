/** Reads into a feed's memory what its stream still holds from before the memory begins: many watches that resume get it from there. */
import type { Change } from "../read/delivery.js";
import type { LostRevisions } from "./bucket-feed.js";
import { type RangeReaderOptions, readRange } from "./range-reader.js";
import type { RecentChanges } from "./recent-changes.js";

/** More than these is read for each watch on its own. */
const REVISIONS_MAX = 20_000;

export class Recall {
  private reading: Promise<void> | undefined;

  constructor(
    private readonly options: RangeReaderOptions,
    private readonly recent: RecentChanges,
    /** Whether the memory continues without a gap to where the feed is. */
    private readonly isLive: () => boolean,
  ) {}

  /** Extends the memory to begin after the sequence, where that is not much. Never throws. */
  async extendTo(sequence: number): Promise<void> {
    // Another one that is under way may read enough.
    await this.reading;
    if (sequence >= this.recent.floor || this.recent.floor - sequence > REVISIONS_MAX || !this.isLive())
      return;
    this.reading ??= this.read(sequence).finally(() => (this.reading = undefined));
    await this.reading;
  }

  private async read(sequence: number): Promise<void> {
    const { floor } = this.recent;
    const earlier: (Change | LostRevisions)[] = [];
    let bytes = 0;
    let last = sequence;
    const isWanted = (): boolean =>
      this.isLive() && this.recent.floor === floor && this.recent.hasRoomFor(bytes);
    const passOver = (through: number): void => {
      if (through > last) earlier.push({ from: last + 1, through, isSuperseded: true });
    };
    try {
      await readRange(this.options, sequence + 1, floor, isWanted, (changes, through) => {
        for (const change of changes) {
          passOver(change.revision - 1);
          change.entry();
          earlier.push(change);
          bytes += change.bytes;
          last = change.revision;
        }
        passOver(through);
        last = through;
        return Promise.resolve();
      });
      if (!isWanted() || last < floor) return;
      // Compaction leaves its mark before it removes anything.
      if ((await this.options.api.state()).compactedTo <= sequence && isWanted())
        this.recent.prepend(sequence + 1, earlier);
    } catch {
      // The storage does not answer: each watch reads for itself, again and again.
    }
  }
}

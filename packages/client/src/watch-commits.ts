/** A watch that emits the changes of a commit together. */
import type { OptionNames } from "./options.js";
import { ChangeEvent, type Watch, type WatchEvent, type WatchOptions } from "./watch-events.js";

export type WatchCommitsOptions = Omit<WatchOptions, "marks">;

export const WATCH_COMMITS_OPTIONS: OptionNames<WatchCommitsOptions> = {
  ...{ signal: true, start: true, startRevision: true, bucketCreatedAt: true, ignoreDeletes: true },
  ...{ keysOnly: true, previous: true, everyChange: true, progressIntervalMs: true },
  ...{ failuresMax: true, onInterrupted: true },
};

/** Changes that were applied together: those of one commit, or a single write. */
export interface ChangeGroup {
  /** In the order of their revisions; at least one. Changes of a commit that the filters or a snapshot omit are missing. */
  readonly changes: readonly ChangeEvent[];
  /** Every matching change up to this revision has been emitted: pass it, plus 1, as `startRevision` to continue. */
  readonly revision: bigint;
}

/**
 * Groups the events of a watch with marks. Emits a group with the last write of its commit; where the watch omits that write, with the
 * first event after it. A commit that an interruption cuts continues after the watch has resumed; one that the end cuts is not emitted.
 */
export function groupCommits(events: Watch<WatchEvent>): Watch<ChangeGroup> {
  const groups = run(events);
  return {
    next: () => groups.next(),
    // A generator queues return() behind a pending next(), so end the events first.
    return: () => {
      void events.return();
      return groups.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* run(events: Watch<WatchEvent>): AsyncGenerator<ChangeGroup, undefined> {
  let changes: ChangeEvent[] = [];
  let revision = 0n;
  for await (const event of events) {
    const last = event instanceof ChangeEvent ? (event.commitRevision ?? event.revision) : event.revision;
    // A mark within a commit says nothing of its later writes.
    const isWithin = event instanceof ChangeEvent ? last === revision : last < revision;
    if (changes.length > 0 && !isWithin) {
      yield { changes, revision };
      changes = [];
    }
    if (!(event instanceof ChangeEvent)) continue;
    changes.push(event);
    revision = last;
    if (event.revision !== last) continue;
    yield { changes, revision };
    changes = [];
  }
  return undefined;
}

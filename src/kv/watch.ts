/** A watch, and its events. */
import type { Entry } from "./entry.js";

export interface WatchOptions {
  /** Selects keys that match at least one filter; none: all keys. */
  readonly filters: readonly string[];
  /** `snapshot`: current values first. `now`: changes only. `history`: every kept entry first. Or the changes from a revision on. */
  readonly start:
    | "snapshot"
    | "now"
    | "history"
    | { readonly revision: bigint; readonly bucketCreatedAtMs?: number | undefined };
  /** Omit tombstones. Default: false. */
  readonly ignoreDeletes?: boolean | undefined;
  /** Emit entries without their values. Default: false. */
  readonly keysOnly?: boolean | undefined;
  /** Include the entry that each change replaced, if it is still kept. Default: false. */
  readonly previous?: boolean | undefined;
  /** End with `revision_compacted` instead of omitting a revision: see `WatchEvent`. Default: false. */
  readonly everyChange?: boolean | undefined;
  /** The maximum interval between progress events, in milliseconds. Default: no progress events. */
  readonly progressIntervalMs?: number | undefined;
}

/**
 * `superseded`: how many revisions between the previous event, or the start, and this one were gone before this process could read them.
 * Absent: none. Their keys are unknown: with filters, it is an upper bound. Revisions that the snapshot or history omits do not count.
 */
export type WatchEvent = { readonly superseded?: number } & (
  | { readonly type: "change"; readonly entry: Entry; readonly previous?: Entry | undefined }
  | { readonly type: "snapshot_end"; readonly revision: bigint; readonly bucketCreatedAtMs: number }
  | { readonly type: "progress"; readonly revision: bigint; readonly timeMs: number }
);

/**
 * A running watch. It can be iterated once. `return()` (or leaving the loop) releases its resources at once, even during a pending
 * `next()`.
 *
 * Events arrive in the order of their revisions, none duplicated or reordered. Every revision stored during the watch arrives, unless it was
 * superseded before this process could read it: the next event has the count (`superseded`). A watch always ends with an error:
 * `bucket_not_found`, `slow_watcher`, `shutting_down`, `revision_compacted` (with the revision to resume from, if there is one), or
 * `canceled` when the context's signal aborts.
 */
export interface Watch extends AsyncIterableIterator<WatchEvent> {
  /** Whether its events were stored before it began. They may be delayed in favor of short calls, unlike live ones. Default: false. */
  readonly isCatchingUp?: boolean;
  /** Returns a buffered event without waiting, for callers that send batches. Undefined if there is none. */
  poll?(): WatchEvent | undefined;
}

/** The options and results of `Store.deleteKeys`. */
import type { PageRequest } from "./reads.js";

/** Selects the keys that `deleteKeys` deletes. */
export interface KeyDeletionOptions {
  /** At least one. */
  readonly filters: readonly string[];
  /** Also remove the history of each deleted key. */
  readonly purge: boolean;
  /** The token also carries the revision that the first page fixed. */
  readonly page: PageRequest;
}

/** The result of one page of a deletion. */
export interface KeyDeletion {
  readonly deleted: number;
  /** The keys that were passed over: newer than `revision`, or changed, deleted or expired since they were selected. */
  readonly skipped: number;
  /** Empty: no matching entry up to `revision` is left. */
  readonly nextPageToken: string;
  readonly revision: bigint;
  /** An upper bound on the number of keys that are left. */
  readonly remainingMax: number;
}

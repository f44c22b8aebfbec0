/** What the reads of a store are asked, and what they return. */
import type { Entry } from "./entry.js";

/** One page of a list. Has at least one item unless none is left, and respects the limits on items and bytes. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** The `pageToken` of the next page; empty on the last page. */
  readonly nextPageToken: string;
}

/** One page of a list of keys. */
export interface KeyPage extends Page<string> {
  /** The bucket's revision at which the page is exact: no write up to it is missing, and none after it is included. */
  readonly revision: bigint;
}

/** The values of several keys at one revision of the bucket. */
export interface KeyBatch {
  /** In the order of the request, up to the first key that did not fit. Has at least one. */
  readonly results: readonly KeyResult[];
  /** The keys that did not fit. */
  readonly unreadKeys: readonly string[];
  /** The revision at which every result is exact. */
  readonly revision: bigint;
  readonly bucketCreatedAtMs: number;
}

/** What a key was found to have. */
export interface KeyResult {
  readonly key: string;
  /** Undefined: the key has no value. */
  readonly entry: Entry | undefined;
}

/** Selects the entries of a scan. A key must match a filter, have the prefix, and be within the bounds. */
export interface ScanOptions {
  /** None: all keys. */
  readonly filters: readonly string[];
  /** Empty: any. */
  readonly prefix: string;
  /** Inclusive, by UTF-8 bytes. Empty: from the first key. */
  readonly startKey: string;
  /** Exclusive. Empty: to the last key. */
  readonly endKey: string;
  readonly isReverse: boolean;
  /** 0: no limit. */
  readonly limit: number;
  /** Entries without value, media type and nanoseconds. */
  readonly keysOnly: boolean;
  /** Continue at a newer revision instead of ending with `revision_compacted`. */
  readonly allowNewer: boolean;
}

/** Entries of a scan that follow each other. */
export interface ScanPart {
  readonly entries: readonly Entry[];
  /** The revision at which they are exact. */
  readonly revision: bigint;
  /** Only in the last part, which has no entries. `isComplete`: whether no further key matches. */
  readonly end?: { readonly isComplete: boolean; readonly bucketCreatedAtMs: number };
}

/**
 * A running scan. It can be iterated once. `return()` (or leaving the loop) releases its resources at once, even during a pending `next()`.
 * Without a part that has an `end`, it has failed. Throws `revision_compacted` with the key whose value is gone, and `bucket_not_found`.
 */
export type Scan = AsyncIterableIterator<ScanPart>;

/** Selects a page of a list. */
export interface PageRequest {
  /** The maximum number of items; 0: the limit of the list. */
  readonly limit: number;
  /** Empty: the first page. */
  readonly pageToken: string;
}

/** `strong`: sees every acknowledged write, see above. `eventual`: any replica may answer, even one that lags behind. */
export type Consistency = "strong" | "eventual";

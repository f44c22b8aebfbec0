/** What a store reports of itself, for metrics. */

/** The size of a bucket in the storage, including history and tombstones. */
export interface BucketSize {
  readonly bucket: string;
  readonly bytes: number;
  readonly entries: number;
}

/** The key indexes that this store holds in memory. */
export interface KeyIndexStats {
  readonly buckets: number;
  readonly keys: number;
  /** Their memory, measured once a second. */
  readonly bytes: number;
  /** The most memory that they took, also while they were loaded. */
  readonly peakBytes: number;
  /** Indexes that were loaded since the start. */
  readonly loads: number;
  /** Those of them that began with a copy from a file. */
  readonly restores: number;
  /** Lists and counts that waited until their index had applied earlier writes. */
  readonly waits: number;
}

/** Batches of writes that were committed together. */
export interface GroupCommitStats {
  readonly batches: number;
  /** The writes in them. */
  readonly writes: number;
  /** Batches that the storage refused: their writes were sent once more. */
  readonly refused: number;
  /** Batches that were staged in memory. */
  readonly staged: number;
}

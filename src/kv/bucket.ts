/** A bucket: its configuration, and what it has. */

/** The parameters of a new bucket. */
export interface BucketConfig {
  readonly name: string;
  /** Default: empty. */
  readonly description?: string | undefined;
  /** How long an entry lives, in milliseconds. Default: 0, forever. */
  readonly ttlMs?: number | undefined;
  /** The largest accepted value, in bytes. 0, the default: only the service's limit applies. */
  readonly maxValueSize?: number | undefined;
  /** The maximum size of the bucket, in bytes. 0, the default: no limit. */
  readonly maxBytes?: number | undefined;
  /** Revisions kept per key, 1 to 64. Default: 1. */
  readonly history?: number | undefined;
}

/** An update of a bucket. Undefined fields keep their values. */
export type BucketChange = Omit<BucketConfig, "name">;

/** A bucket's configuration and current size. */
export interface BucketInfo extends Required<{
  [Field in keyof BucketConfig]: NonNullable<BucketConfig[Field]>;
}> {
  /** The exact number of live keys at `revision`. */
  readonly values: number;
  /** Stored bytes, including history and tombstones. */
  readonly bytes: number;
  readonly createdAt: Date;
  /** The newest revision; 0 if nothing was ever written. */
  readonly revision: bigint;
  /** The number of replicas in the storage. */
  readonly replicas: number;
  readonly storage: "file" | "memory";
  readonly durability: Durability;
  /** How long the bucket remembers a write with an idempotency key, in milliseconds; 0: not at all. */
  readonly idempotencyWindowMs: number;
}

/** The result of a compaction. */
export interface CompactionResult {
  /** The number of removed tombstones. */
  readonly removed: number;
}

/** Whether an acknowledged write survives a power failure: `synced` yes, `relaxed` maybe not, `unknown` depends on the server. */
export type Durability = "synced" | "relaxed" | "unknown";

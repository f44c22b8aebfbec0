/** An entry: one revision of a key. */

/** What a write did to a key. `expire`: the storage removed the entry at the end of its TTL. */
export type Operation = "put" | "delete" | "purge" | "expire";

/** One revision of a key. */
export interface Entry {
  readonly key: string;
  /** Empty for tombstones. Immutable: watchers share it. */
  readonly value: Uint8Array;
  readonly revision: bigint;
  /** When the revision was written by the storage's clock, in milliseconds since 1970. */
  readonly createdAtMs: number;
  /** The nanoseconds within that millisecond, 0 to 999,999. */
  readonly createdAtNanos: number;
  readonly operation: Operation;
  /** The media type; empty if none was sent. */
  readonly contentType: string;
  /** When it expires by its own TTL, by the storage's clock, in milliseconds since 1970. The bucket's `ttlMs` is not included. Absent: never. */
  readonly expiresAtMs?: number | undefined;
  /** The pairs that were sent with it. Immutable. Absent: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The revision of the last write of the commit that this one belongs to. Absent: it belongs to none. */
  readonly commitRevision?: bigint | undefined;
}

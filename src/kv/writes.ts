/** What the writes of a store are asked, and what they return. */
import type { Operation } from "./entry.js";

/** The condition of a write: none, the key has no value, or the key's newest revision is this one (>= 1). */
export type Condition = "always" | "if_absent" | { readonly ifRevision: bigint };

export interface WriteOptions {
  /** Default: always. */
  readonly condition?: Condition | undefined;
  /**
   * Write only if the bucket was created at this time. Throws `revision_mismatch` if it was recreated since, and `outcome_unknown` if it
   * was recreated during the write. Default: not checked.
   */
  readonly bucketCreatedAtMs?: number | undefined;
  /**
   * Identifies this request within the bucket: 1 to 128 visible ASCII characters. Within the bucket's window, a repeated request gets the
   * result of the first and is not applied again; a different request is refused with `idempotency_key_reused`. Default: none.
   */
  readonly idempotencyKey?: string | undefined;
  /**
   * An earlier attempt with the same idempotency key. The write is applied only if it is certain that the earlier attempt was not, even
   * if the storage has lost its memory of it; otherwise throws `outcome_unknown`. Default: this is the first attempt.
   */
  readonly sentBefore?: EarlierAttempt | undefined;
}

/** What a client reports about its first attempt of a write. */
export interface EarlierAttempt {
  /** A revision from before the attempt: if the attempt was applied, its revision is higher. */
  readonly after: bigint;
  /** The time since the attempt, in milliseconds. Default: 15 seconds if `timeMs` is absent too. */
  readonly ageMs?: number | undefined;
  /**
   * The earliest possible time of the attempt by the storage's clock, in milliseconds since 1970; 0: unknown. Unlike `ageMs`, it also
   * covers the time that this request takes to arrive.
   */
  readonly timeMs?: number | undefined;
}

export interface PutOptions extends WriteOptions {
  /** Printable ASCII, up to 255 bytes. Default: none. */
  readonly contentType?: string | undefined;
  /**
   * How long the value lives, in milliseconds, rounded up to whole seconds; the bucket's `ttlMs` may be shorter. Throws `ttl_not_supported`
   * unless the bucket's history is 1: in a deeper one, the value before it would come back. Default: no expiry of its own.
   */
  readonly ttlMs?: number | undefined;
  /** See `checkMetadata` in metadata.ts. Default: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface TouchOptions extends Omit<WriteOptions, "condition"> {
  /** Touch only if the key's newest revision is this one. Default: always. */
  readonly ifRevision?: bigint | undefined;
  /** The new TTL, from now on: see {@link PutOptions}. Default: none. */
  readonly ttlMs?: number | undefined;
}

export interface DeleteOptions extends WriteOptions {
  /** Also remove the history. Default: false. */
  readonly purge?: boolean | undefined;
}

/** What a put of a commit may have: all options of a put, except those that belong to the whole commit. */
export type CommitPutOptions = Omit<PutOptions, Exclude<keyof WriteOptions, "condition">>;

/** An operation of a commit. Conditions describe the bucket before the commit. */
export type CommitOperation =
  | { readonly type: "check"; readonly key: string; readonly condition: Exclude<Condition, "always"> }
  /** No key that matches the filter changed after this revision. The filter has no `*` inside a token. */
  | { readonly type: "check_unchanged"; readonly filter: string; readonly since: bigint }
  | {
      readonly type: "put";
      readonly key: string;
      readonly value: Uint8Array;
      readonly options: CommitPutOptions;
    }
  | {
      readonly type: "delete";
      readonly key: string;
      readonly purge: boolean;
      readonly condition: Exclude<Condition, "if_absent">;
    };

export interface CommitResult {
  /** The revision of the last write; without writes, the one at which the checks held. */
  readonly revision: bigint;
  /** One for each operation; 0 for a check. */
  readonly revisions: readonly bigint[];
}

/** An entry of another bucket to write. An expiry can't be written. */
export interface ImportedEntry {
  readonly key: string;
  /** Empty for tombstones. */
  readonly value: Uint8Array;
  readonly operation: Exclude<Operation, "expire">;
  /** As in {@link PutOptions}; empty: none. */
  readonly contentType: string;
  /** As in {@link Entry}. A `put` whose time is over, or less than a second away, is written as a `purge`. */
  readonly expiresAtMs?: number | undefined;
  /** As in {@link PutOptions}. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface ImportResult {
  /** The number of written entries, at least 1. */
  readonly imported: number;
  /** The revision of the last written entry. */
  readonly revision: bigint;
}

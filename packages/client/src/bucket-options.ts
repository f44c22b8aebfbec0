/** The options and results of the methods of a bucket. */
import { Consistency } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { Revision } from "./convert.js";
import type { Entry } from "./entry.js";
import type { OptionNames } from "./options.js";
import { CALL_OPTIONS, type CallOptions } from "./rpc-client.js";

/** The result of a write. */
export interface WriteResult {
  /**
   * The revision of this write; 0n if a delete found no value. Pass it to `update` to write only if the key has not changed since.
   */
  readonly revision: bigint;
}

export interface WriteOptions extends CallOptions {
  /**
   * Identifies this write when you retry it yourself, also from another process: 1 to 128 visible ASCII characters. Within the
   * bucket's `idempotencyWindowMs`, the same request with the same key is applied once; a different request with it is refused
   * (`idempotency_key_reused`). Default: a generated key, which makes the SDK's own retries safe.
   */
  readonly idempotencyKey?: string | undefined;
}

export interface PutOptions extends WriteOptions {
  /** The media type to store. Default: derived from the value, see `Bucket.put`. Empty: none. */
  readonly contentType?: string | undefined;
  /**
   * How long the value lives, in seconds, rounded up to whole ones: 1 to 100 years. Only in buckets with a `history` of 1. The bucket's
   * `ttlSeconds` may end it earlier. Default: no TTL of its own.
   */
  readonly ttlSeconds?: number | undefined;
  /**
   * Text to store with the value: at most 32 pairs with 2,048 bytes of UTF-8. A name has 1 to 64 of `a-z 0-9 - _ .`, and begins with a
   * letter or digit. Default: none.
   */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface TouchOptions extends WriteOptions {
  /** The new TTL, from now on: see {@link PutOptions}. Default: the value no longer expires by a TTL of its own. */
  readonly ttlSeconds?: number | undefined;
  /** Touch only if this is the key's newest revision; otherwise throw KvConflictError. Default: always touch. */
  readonly ifRevision?: Revision | undefined;
}

export interface ReadOptions extends CallOptions {
  /**
   * `strong`, the default: the read sees every write acknowledged before it began. `eventual`: any replica of the bucket may answer, even
   * one that lags behind. On a cluster, `eventual` is cheaper and works while the bucket has no leader.
   */
  readonly consistency?: "strong" | "eventual" | undefined;
}

export interface GetOptions extends ReadOptions {
  /** The revision to read. Default: the newest. */
  readonly revision?: Revision | undefined;
}

/** The entries of several keys. */
export interface ManyEntries {
  /** In the order of the keys; undefined for a key without a value. */
  readonly entries: readonly (Entry | undefined)[];
  /** The revision of the bucket at which they were read; 0n if no key was asked for. */
  readonly revision: bigint;
}

export interface DeleteOptions extends WriteOptions {
  /** Delete only if this is the key's newest revision; otherwise throw KvConflictError. Default: always delete. */
  readonly ifRevision?: Revision | undefined;
}

export const WRITE_OPTIONS: OptionNames<WriteOptions> = { ...CALL_OPTIONS, idempotencyKey: true };
export const PUT_OPTIONS: OptionNames<PutOptions> = {
  ...{ ...WRITE_OPTIONS, contentType: true, ttlSeconds: true, metadata: true },
};
export const TOUCH_OPTIONS: OptionNames<TouchOptions> = {
  ...WRITE_OPTIONS,
  ttlSeconds: true,
  ifRevision: true,
};
export const DELETE_OPTIONS: OptionNames<DeleteOptions> = { ...WRITE_OPTIONS, ifRevision: true };
export const READ_OPTIONS: OptionNames<ReadOptions> = { ...CALL_OPTIONS, consistency: true };
export const GET_OPTIONS: OptionNames<GetOptions> = { ...READ_OPTIONS, revision: true };

export function consistencyOf({ consistency }: ReadOptions): Consistency {
  return consistency === "eventual" ? Consistency.EVENTUAL : Consistency.UNSPECIFIED;
}

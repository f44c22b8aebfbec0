/** Reads an entry together with the creation time of its bucket. */
import type { CallScope, Consistency, Entry, Store } from "../kv/store.js";

export interface EntryInBucket {
  readonly entry: Entry;
  readonly bucketCreatedAtMs: number;
}

/**
 * Reads the bucket's creation time first. If the bucket is recreated in between, the time is the earlier bucket's, never a later one's.
 * `verifies`: repeats the read until the bucket is the same before and after.
 */
export async function entryInBucket(
  store: Store,
  request: { readonly bucket: string; readonly key: string; readonly revision: bigint },
  scope: CallScope,
  consistency: Consistency,
  verifies: boolean,
): Promise<EntryInBucket> {
  const { bucket, key, revision } = request;
  const read = (): Promise<Entry> => store.get(bucket, key, revision, scope, consistency);
  let bucketCreatedAtMs: number;
  try {
    bucketCreatedAtMs = await store.bucketCreatedAtMs(bucket, scope, "known");
  } catch (missing) {
    // A malformed argument is reported before a missing bucket.
    await read();
    throw missing;
  }
  for (;;) {
    const entry = await read();
    if (!verifies) return { entry, bucketCreatedAtMs };
    const createdAtMs = await store.bucketCreatedAtMs(bucket, scope, "current");
    if (createdAtMs === bucketCreatedAtMs) return { entry, bucketCreatedAtMs };
    bucketCreatedAtMs = createdAtMs;
  }
}

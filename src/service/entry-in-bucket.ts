/** Reads an entry together with the creation time of its bucket. */
import type { CallContext } from "../kv/call-context.js";
import type { Consistency } from "../kv/reads.js";
import type { Entry } from "../kv/entry.js";
import type { Store } from "../kv/store.js";

export interface EntryInBucket {
  readonly entry: Entry;
  readonly bucketCreatedAtMs: number;
}

/**
 * Reads the creation time before the entry. If the bucket is recreated in between, the time is that of the earlier bucket, never of a
 * later one. `isVerified`: repeats the read until the creation time is the same before and after.
 */
export async function entryInBucket(
  store: Store,
  request: { readonly bucket: string; readonly key: string; readonly revision: bigint },
  context: CallContext,
  consistency: Consistency,
  isVerified: boolean,
): Promise<EntryInBucket> {
  const { bucket, key, revision } = request;
  const read = (): Promise<Entry> => store.get(bucket, key, revision, context, consistency);
  let bucketCreatedAtMs: number;
  try {
    bucketCreatedAtMs = await store.bucketCreatedAtMs(bucket, context, "known");
  } catch (missing) {
    // A malformed argument is reported before a missing bucket.
    await read();
    throw missing;
  }
  for (;;) {
    const entry = await read();
    if (!isVerified) return { entry, bucketCreatedAtMs };
    const createdAtMs = await store.bucketCreatedAtMs(bucket, context, "current");
    if (createdAtMs === bucketCreatedAtMs) return { entry, bucketCreatedAtMs };
    bucketCreatedAtMs = createdAtMs;
  }
}

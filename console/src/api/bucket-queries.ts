/**
 * Buckets that stay current at little cost. Polls stop while the tab is hidden.
 *
 * Numbers of keys are queries of their own: the service may have to read a large bucket to count its keys, and everything else is there at once.
 */
import { createConnectQueryKey, useQuery } from "@connectrpc/connect-query";
import { type Bucket, BucketSchema, BucketService } from "@ironflow-kv/client/gen";
import { pollIntervalMs } from "./call-times.js";
import { queryClient } from "./query-client.js";

const { getBucket, listBuckets } = BucketService.method;
/** A page of the service. A console is no place for more at once; the search of a screen works on these. */
const BUCKETS_SHOWN_MAX = 1_000;

const WITHOUT_COUNT = {
  paths: BucketSchema.fields.map(({ name }) => name).filter((name) => name !== "values"),
};
const COUNT = { paths: ["name", "values"] };

/** Undefined: not counted yet. */
export type KeyCount = bigint | undefined;

export interface ListedBuckets {
  readonly buckets: readonly Bucket[];
  /** By name. */
  readonly keys: ReadonlyMap<string, bigint>;
  /** Whether there are more buckets than these. */
  readonly hasMore: boolean;
}

export function useBuckets() {
  const list = useListBuckets(WITHOUT_COUNT);
  const counts = useListBuckets(COUNT);
  const { data, error, isPending } = list;
  const listed: ListedBuckets | undefined = data && {
    buckets: data.buckets,
    keys: new Map(counts.data?.buckets.map(({ name, values }) => [name, values])),
    hasMore: data.nextPageToken !== "",
  };
  return { data: listed, error, isPending };
}

function useListBuckets(readMask: { readonly paths: string[] }) {
  const input = { limit: BUCKETS_SHOWN_MAX, readMask };
  return useQuery(listBuckets, input, {
    refetchInterval: () => pollIntervalMs(listBuckets.name, readMask.paths, 10_000),
  });
}

export interface ShownBucket {
  readonly bucket: Bucket | undefined;
  readonly keys: KeyCount;
  readonly error: Error | null;
}

export function useBucket(bucket: string): ShownBucket {
  const { data, error } = useGetBucket(bucket, WITHOUT_COUNT);
  const counts = useGetBucket(bucket, COUNT);
  return { bucket: data?.bucket, keys: counts.data?.bucket?.values, error };
}

function useGetBucket(bucket: string, readMask: { readonly paths: string[] }) {
  return useQuery(
    getBucket,
    { bucket, readMask },
    { refetchInterval: () => pollIntervalMs(getBucket.name, readMask.paths, 5_000) },
  );
}

/** Reads buckets and environments again after a change. */
export function refreshBuckets(): Promise<unknown> {
  return queryClient.invalidateQueries({
    queryKey: createConnectQueryKey({ schema: BucketService, cardinality: "finite" }),
  });
}

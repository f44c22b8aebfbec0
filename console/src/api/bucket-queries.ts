/** Buckets with counts that stay current at little cost. Polls stop while the tab is hidden. */
import { createConnectQueryKey, useQuery } from "@connectrpc/connect-query";
import { BucketService } from "@ironflow-kv/client/gen";
import { pollIntervalMs } from "./call-times.js";
import { queryClient } from "./query-client.js";

const { getBucket, listBuckets } = BucketService.method;
/** A page of the service. A console is no place for more at once; the search of a screen works on these. */
const BUCKETS_SHOWN_MAX = 1_000;

export function useBuckets() {
  return useQuery(
    listBuckets,
    { limit: BUCKETS_SHOWN_MAX },
    { refetchInterval: () => pollIntervalMs(listBuckets.name, 10_000) },
  );
}

export function useBucket(bucket: string) {
  return useQuery(getBucket, { bucket }, { refetchInterval: () => pollIntervalMs(getBucket.name, 5_000) });
}

/** Reads buckets again after a change. */
export function refreshBuckets(): Promise<unknown> {
  return Promise.all([
    queryClient.invalidateQueries({
      queryKey: createConnectQueryKey({ schema: getBucket, cardinality: "finite" }),
    }),
    queryClient.invalidateQueries({
      queryKey: createConnectQueryKey({ schema: listBuckets, cardinality: "finite" }),
    }),
  ]);
}

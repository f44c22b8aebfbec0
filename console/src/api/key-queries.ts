/** The value and the history of a key. */
import { createConnectQueryKey, useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { KeyValueService } from "@ironflow-kv/client/gen";
import { queryClient } from "./query-client.js";

const { get, getHistory } = KeyValueService.method;
const HISTORY_PAGE_ENTRIES = 64;

export function useEntry(bucket: string, key: string) {
  return useQuery(get, { bucket, key });
}

export function useHistory(bucket: string, key: string) {
  return useInfiniteQuery(
    getHistory,
    { bucket, key, limit: HISTORY_PAGE_ENTRIES, pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: ({ nextPageToken }) => (nextPageToken === "" ? undefined : nextPageToken),
    },
  );
}

/** Reads a key again after it has changed. */
export function refreshKey(bucket: string, key: string): Promise<unknown> {
  return Promise.all([
    queryClient.invalidateQueries({
      queryKey: createConnectQueryKey({ schema: get, cardinality: "finite", input: { bucket, key } }),
    }),
    queryClient.invalidateQueries({
      queryKey: createConnectQueryKey({
        schema: getHistory,
        cardinality: "infinite",
        input: { bucket, key },
      }),
    }),
  ]);
}

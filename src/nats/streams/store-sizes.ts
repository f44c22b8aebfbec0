/** The size of each bucket, for metrics. One request covers many buckets. */
import { bucketOfStream } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { BucketSize } from "../../kv/store-stats.js";
import type { Requests } from "../client/requests.js";
import { streamsOf } from "./stream-pages.js";

/** Throws `KvError`. */
export async function storeSizes(requests: Requests, context: CallContext): Promise<readonly BucketSize[]> {
  const sizes: BucketSize[] = [];
  for await (const { config, state } of streamsOf(requests, "STREAM.LIST", context)) {
    const bucket = bucketOfStream(config.name);
    if (bucket !== undefined) sizes.push({ bucket, bytes: state.bytes, entries: state.messages });
  }
  return sizes;
}

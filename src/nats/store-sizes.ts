/** What each bucket takes in the storage: one question for many buckets, for metrics. */
import { bucketOfStream } from "../kv/names.js";
import type { BucketSize, CallScope } from "../kv/store.js";
import { toKvError } from "./errors.js";
import { readJetStream, type StreamInfo } from "./jetstream-api.js";
import type { Requests } from "./requests.js";

interface StreamPage {
  readonly streams: readonly StreamInfo[] | null;
  readonly total: number;
}

export async function storeSizes(requests: Requests, scope: CallScope): Promise<readonly BucketSize[]> {
  const sizes: BucketSize[] = [];
  for (let offset = 0; ;) {
    const page = await readJetStream<StreamPage>(
      requests,
      "STREAM.LIST",
      { subject: "$KV.*.>", offset },
      scope,
    ).catch((error: unknown) => {
      throw toKvError(error, {});
    });
    const streams = page.streams ?? [];
    for (const { config, state } of streams) {
      const bucket = bucketOfStream(config.name);
      if (bucket !== undefined) sizes.push({ bucket, bytes: state.bytes, entries: state.messages });
    }
    offset += streams.length;
    if (streams.length === 0 || offset >= page.total) return sizes;
  }
}

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

/** The streams of all KV buckets, page by page. Throws `KvError`. */
export async function* listStreams(requests: Requests, scope: CallScope): AsyncGenerator<StreamInfo> {
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
    yield* streams;
    offset += streams.length;
    if (streams.length === 0 || offset >= page.total) return;
  }
}

export async function storeSizes(requests: Requests, scope: CallScope): Promise<readonly BucketSize[]> {
  const sizes: BucketSize[] = [];
  for await (const { config, state } of listStreams(requests, scope)) {
    const bucket = bucketOfStream(config.name);
    if (bucket !== undefined) sizes.push({ bucket, bytes: state.bytes, entries: state.messages });
  }
  return sizes;
}

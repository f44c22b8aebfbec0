/** Lists the streams of all KV buckets, including those of other programs, page by page. */
import type { CallContext } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import { readJetStream, type StreamInfo } from "../client/jetstream-api.js";
import type { Requests } from "../client/requests.js";

/** The item type of each operation. */
interface Listed {
  readonly "STREAM.NAMES": string;
  readonly "STREAM.LIST": StreamInfo;
}

interface StreamPage<Item> {
  readonly streams: readonly Item[] | null;
  /** The number of items on all pages. */
  readonly total: number;
}

const KV_SUBJECTS = "$KV.*.>";
/** Enough for 1,024 names or 256 stream infos (JetStream API), even with large configurations of other programs. */
export const PAGE_BYTES_MAX = 1_048_576;

/** One page. Throws `KvError`. */
export async function streamPage<Operation extends keyof Listed>(
  requests: Requests,
  operation: Operation,
  offset: number,
  context: CallContext,
): Promise<StreamPage<Listed[Operation]>> {
  try {
    return await readJetStream(requests, operation, { subject: KV_SUBJECTS, offset }, context, {
      bytesMax: PAGE_BYTES_MAX,
    });
  } catch (error) {
    throw toKvError(error, {});
  }
}

/** Iterates over all pages. Throws `KvError`. */
export async function* streamsOf<Operation extends keyof Listed>(
  requests: Requests,
  operation: Operation,
  context: CallContext,
): AsyncGenerator<Listed[Operation]> {
  for (let offset = 0; ;) {
    const page = await streamPage(requests, operation, offset, context);
    const streams = page.streams ?? [];
    yield* streams;
    offset += streams.length;
    if (streams.length === 0 || offset >= page.total) return;
  }
}

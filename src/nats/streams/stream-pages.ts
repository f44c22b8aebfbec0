/** Lists the streams of all KV buckets, including those of other programs, page by page. */
import type { CallContext } from "../../kv/call-context.js";
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

/**
 * The infos of all streams by name, at less than a tenth of the cost of a request for each. Streams that come or go meanwhile may be missing,
 * and so are those with sequences that JSON can't express. Throws `KvError`. Not for a cluster: its servers may leave streams out.
 */
export async function streamInfos(
  requests: Requests,
  context: CallContext,
): Promise<ReadonlyMap<string, StreamInfo>> {
  const pageAt = (offset: number): Promise<StreamPage<StreamInfo>> =>
    streamPage(requests, "STREAM.LIST", offset, context);
  const first = await pageAt(0);
  const size = first.streams?.length ?? 0;
  const offsets: number[] = [];
  for (let offset = size; size > 0 && offset < first.total; offset += size) offsets.push(offset);
  const pages = [first, ...(await Promise.all(offsets.map(pageAt)))];
  const infos = pages.flatMap(({ streams }) => streams ?? []).filter(({ state }) => isExact(state));
  return new Map(infos.map((info) => [info.config.name, info]));
}

function isExact({ first_seq, last_seq }: StreamInfo["state"]): boolean {
  return Math.max(first_seq, last_seq) <= Number.MAX_SAFE_INTEGER;
}

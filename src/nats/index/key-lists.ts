/** Lists and counts of a bucket's live keys, each exact at one revision of the bucket. */
import { parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { streamName } from "../../kv/names.js";
import { keyJsonBytes, PageRoom } from "../../kv/page-room.js";
import { checkIncarnation, pageLimit, readPageToken, writePageToken } from "../../kv/page-token.js";
import type { CallContext, Consistency, KeyPage, PageRequest } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import type { Place } from "../client/message-reader.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { after } from "./key-ranges.js";
import { visitKeys } from "./key-visit.js";

export class KeyLists {
  constructor(
    private readonly indexes: BucketIndexes,
    private readonly limits: Limits,
  ) {}

  /** The number of live keys, and the revision at which it holds. `info`: of the stream, read in this call. */
  async count(
    place: Place,
    info: StreamInfo,
    context: CallContext,
  ): Promise<{ readonly keys: number; readonly revision: number }> {
    if (info.state.messages === 0) return { keys: 0, revision: info.state.last_seq };
    const index = await this.indexes.current(place, context, "strong", info);
    return { keys: index.keys.size, revision: index.revision };
  }

  /** A page of the keys that match. */
  async page(
    bucket: string,
    filterTexts: readonly string[],
    page: PageRequest,
    context: CallContext,
    consistency: Consistency = "strong",
  ): Promise<KeyPage> {
    const place = { bucket, stream: streamName(bucket) };
    const filters = parseFilters(filterTexts);
    const limit = pageLimit(page.limit, this.limits.keysPageMax);
    const listing = `keys ${bucket} ${JSON.stringify(filters.map((filter) => filter.text).sort())}`;
    const token = readPageToken(page.pageToken, listing);
    const index = await this.indexes.current(place, context, consistency);
    const { created, revision } = index;
    checkIncarnation(token, created);
    const from = token === undefined ? undefined : after(Buffer.from(token.after));
    const room = new PageRoom(limit, this.limits.pageBytesMax);
    const items: string[] = [];
    const isComplete = await visitKeys(
      index.keys,
      filters,
      from,
      (key) => {
        if (!room.take(keyJsonBytes(key))) return false;
        items.push(key);
        return true;
      },
      context,
    ).catch((error: unknown) => {
      throw toKvError(error, { bucket });
    });
    const nextPageToken = isComplete ? "" : writePageToken(listing, items.at(-1) ?? "", created);
    return { items, nextPageToken, revision: BigInt(revision) };
  }
}

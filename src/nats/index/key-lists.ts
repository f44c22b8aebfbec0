/** Lists and counts of a bucket's live keys, each exact at one revision of the bucket. */
import { parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { streamName } from "../../kv/names.js";
import { keyJsonBytes, PageRoom } from "../../kv/page-room.js";
import { checkIncarnation, pageLimit, readPageToken, writePageToken } from "../../kv/page-token.js";
import { bulkScheduler, KEY_WORK_BYTES } from "../../kv/bulk-scheduler.js";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import type { Consistency, KeyPage, PageRequest } from "../../kv/reads.js";
import { toKvError } from "../client/errors.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import type { Place } from "../client/message-reader.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { after } from "./key-ranges.js";
import { throwIfEnded, visitKeys } from "./key-visit.js";
import type { ReadMemory } from "./read-memory.js";
import { COUNT_ALONE, type KeyWindow, rangeOfFilters } from "./key-window.js";

/** A key takes this many times its bytes, as a string and in the encoded response. */
const KEY_FACTOR = 2;

export class KeyLists {
  constructor(
    private readonly indexes: BucketIndexes,
    private readonly limits: Limits,
    private readonly memory: ReadMemory,
  ) {}

  /** The number of live keys, and the revision at which it holds. `info`: of the stream, read in this call. */
  async count(
    place: Place,
    info: StreamInfo,
    context: CallContext,
  ): Promise<{ readonly keys: number; readonly revision: number }> {
    if (info.state.messages === 0) return { keys: 0, revision: info.state.last_seq };
    const index = await this.indexes.current(place, context, COUNT_ALONE, "strong", info);
    if (index.window.isAll) return { keys: index.keys.size, revision: index.revision };
    return this.countBySubjects(place, context, info);
  }

  /** Of a bucket whose index has a window of its keys: the stream's subjects without those that have no live key, at one revision. */
  private async countBySubjects(
    place: Place,
    context: CallContext,
    first: StreamInfo,
  ): Promise<{ readonly keys: number; readonly revision: number }> {
    for (let info = first; ; info = await this.indexes.info(place, context)) {
      const index = await this.indexes.current(place, context, COUNT_ALONE, "strong", info);
      if (index.window.isAll) return { keys: index.keys.size, revision: index.revision };
      const { num_subjects: subjects = 0, last_seq: revision } = info.state;
      const without = index.subjectsWithoutKey(revision);
      if (without !== undefined) return { keys: Math.max(0, subjects - without), revision };
      throwIfEnded(context);
    }
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
    const from = token === undefined ? undefined : after(Buffer.from(token.after));
    const needed = rangeOfFilters(filters, from);
    let window: KeyWindow;
    for (let rest = needed; ; rest = window.restOf(rest)) {
      const index = await this.indexes.current(place, context, rest, consistency);
      const { created, revision } = index;
      window = index.window;
      checkIncarnation(token, created);
      const room = new PageRoom(limit, this.limits.pageBytesMax);
      const items: string[] = [];
      const bytesMax = Math.min(
        this.limits.pageBytesMax,
        Math.min(limit, index.keys.size) * this.limits.keyBytesMax,
      );
      const heldBytes = KEY_FACTOR * bytesMax;
      const { release } = await this.memory.reserve(heldBytes, heldBytes, context).catch((error: unknown) => {
        throw toKvError(error, { bucket });
      });
      const visitedAll = await visitKeys(
        index.keys,
        filters,
        rest.from,
        (key) => {
          if (!room.take(keyJsonBytes(key))) return false;
          items.push(key);
          return true;
        },
        context,
      ).catch((error: unknown) => {
        release();
        throw toKvError(error, { bucket });
      });
      await bulkScheduler.turnIfLong(flowOf(context), items.length * KEY_WORK_BYTES);
      // The response is encoded and counted by then.
      setImmediate(release);
      const isComplete = visitedAll && window.completes(needed);
      const last = items.at(-1);
      // A window has a key, unless all of them have expired or were deleted since.
      if (!isComplete && last === undefined) continue;
      const nextPageToken = isComplete ? "" : writePageToken(listing, last ?? "", created);
      return { items, nextPageToken, revision: BigInt(revision) };
    }
  }
}

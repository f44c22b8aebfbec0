/** Lists and counts of a bucket's live keys, each exact at one revision of the bucket. */
import { parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { streamName } from "../../kv/names.js";
import { keyJsonBytes, PageRoom } from "../../kv/page-room.js";
import { checkIncarnation, pageLimit, readPageToken, writePageToken } from "../../kv/page-token.js";
import { bulkScheduler, KEY_WORK_BYTES } from "../../kv/bulk-scheduler.js";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import { HeldMemory } from "../../kv/held-memory.js";
import type { Consistency, KeyPage, PageRequest } from "../../kv/reads.js";
import { toKvError } from "../client/errors.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import type { Place } from "../client/message-reader.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { after } from "./key-ranges.js";
import { throwIfEnded, visitKeys } from "./key-visit.js";
import type { ReadMemory } from "../read/read-memory.js";
import { COUNT_ALONE, type KeyWindow, rangeOfFilters } from "./key-window.js";

/** A key takes this many times its bytes: as a string, in JSON, in the text of the response and in its bytes. */
const KEY_FACTOR = 4;

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
    const held = context.held ?? new HeldMemory();
    try {
      return await this.readPage(bucket, filterTexts, page, context, consistency, held);
    } catch (error) {
      throw toKvError(error, { bucket });
    } finally {
      if (context.held === undefined) held.release();
    }
  }

  private async readPage(
    bucket: string,
    filterTexts: readonly string[],
    page: PageRequest,
    context: CallContext,
    consistency: Consistency,
    held: HeldMemory,
  ): Promise<KeyPage> {
    const { keyBytesMax, keysPageMax, pageBytesMax } = this.limits;
    const place = { bucket, stream: streamName(bucket) };
    const filters = parseFilters(filterTexts);
    const limit = pageLimit(page.limit, keysPageMax);
    const listing = `keys ${bucket} ${JSON.stringify(filters.map((filter) => filter.text).sort())}`;
    const token = readPageToken(page.pageToken, listing);
    const from = token === undefined ? undefined : after(Buffer.from(token.after));
    const needed = rangeOfFilters(filters, from);
    let window: KeyWindow;
    for (let rest = needed; ; rest = window.restOf(rest)) {
      const index = await this.indexes.current(place, context, rest, consistency);
      const bytesMax = Math.min(pageBytesMax, Math.min(limit, index.keys.size) * keyBytesMax);
      await this.memory.hold(KEY_FACTOR * bytesMax, held, context);
      // The index may have changed while the call waited for memory.
      const { created, revision } = index;
      window = index.window;
      checkIncarnation(token, created);
      const room = new PageRoom(limit, pageBytesMax);
      const items: string[] = [];
      const takeKey = (key: string): boolean => {
        const isTaken = room.take(keyJsonBytes(key));
        if (isTaken) items.push(key);
        return isTaken;
      };
      const visitedAll = await visitKeys(index.keys, filters, rest.from, takeKey, context);
      await bulkScheduler.turnIfLong(flowOf(context), items.length * KEY_WORK_BYTES);
      const isComplete = visitedAll && window.completes(needed);
      const last = items.at(-1);
      // A window has a key, unless all of them have expired or were deleted since.
      if (!isComplete && last === undefined) {
        held.release();
        continue;
      }
      const nextPageToken = isComplete ? "" : writePageToken(listing, last ?? "", created);
      return { items, nextPageToken, revision: BigInt(revision) };
    }
  }
}

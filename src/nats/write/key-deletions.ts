/** Deletes the keys that match filters: see `Store.deleteKeys`. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { invalidArgument, KvError } from "../../kv/errors.js";
import { type Filter, parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { streamName } from "../../kv/names.js";
import {
  checkIncarnation,
  malformedPageToken,
  pageLimit,
  readPageToken,
  writePageToken,
} from "../../kv/page-token.js";
import type { KeyDeletion, KeyDeletionOptions } from "../../kv/key-deletion.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Store } from "../../kv/store.js";
import { bucketNotFound, toKvError } from "../client/errors.js";
import type { Place } from "../client/message-reader.js";
import type { BucketIndex } from "../index/bucket-index.js";
import type { BucketIndexes } from "../index/bucket-indexes.js";
import { after, rangesOf, within } from "../index/key-ranges.js";
import { rangeOfFilters } from "../index/key-window.js";
import { throwIfEnded } from "../index/key-visit.js";
import { KeyWalk, type WalkedKey } from "../index/key-walk.js";
import type { Incarnations } from "./incarnations.js";

export interface KeyDeletionsOptions {
  readonly indexes: BucketIndexes;
  readonly incarnations: Incarnations;
  readonly limits: Limits;
  readonly deleteKey: Store["delete"];
}

/** Deletes in flight: enough for group commit to form batches. */
const CHUNK_KEYS = 256;
/** The part of a call's time after which no further chunk begins. */
const TIME_SHARE = 0.5;

/** Where a deletion begins or continues. */
interface Position {
  /** Only entries up to this revision are deleted. */
  readonly revision: number;
  /** The last key that was visited; undefined: none. */
  readonly lastKey: string | undefined;
}

export class KeyDeletions {
  constructor(private readonly options: KeyDeletionsOptions) {}

  async run(
    bucket: string,
    { filters: texts, purge, page }: KeyDeletionOptions,
    context: CallContext,
  ): Promise<KeyDeletion> {
    const { indexes, limits } = this.options;
    const beganMs = performance.now();
    const stopMs = beganMs + (context.deadlineMs - beganMs) * TIME_SHARE;
    const place = { bucket, stream: streamName(bucket) };
    const filters = checkFilters(bucket, texts);
    const limit = pageLimit(page.limit, limits.deleteKeysMax);
    const listing = `${purge ? "purge" : "delete"} ${bucket} ${JSON.stringify(filters.map(({ text }) => text).sort())}`;
    const token = readPageToken(page.pageToken, listing);
    const from = token === undefined ? undefined : readPosition(token.after).lastKey;
    const needed = rangeOfFilters(filters, from === undefined ? undefined : after(Buffer.from(from)));
    let start = token === undefined ? undefined : readPosition(token.after);
    for (let rest = needed; ;) {
      const index = await indexes.current(place, context, rest, "strong");
      checkIncarnation(token, index.created);
      start ??= { revision: index.revision, lastKey: undefined };
      const hasAllKeys = index.window.completes(rest);
      const deletion = new Deletion(this.options, { place, index, filters, purge, start, limit }, context);
      try {
        const release = hasAllKeys ? undefined : await indexes.hold(context);
        await deletion.run(stopMs).finally(() => release?.());
      } catch (error) {
        throw toKvError(error, { bucket });
      }
      const { deleted, skipped, isDone, lastKey } = deletion;
      // A window has a key, unless all of them have expired or were deleted since.
      if (isDone && !hasAllKeys && lastKey === start.lastKey) {
        rest = index.window.restOf(rest);
        continue;
      }
      const nextPageToken =
        isDone && hasAllKeys
          ? ""
          : writePageToken(listing, `${start.revision} ${lastKey ?? ""}`, index.created);
      const remainingMax = hasAllKeys ? deletion.remainingMax : await this.subjectsOf(place, context);
      return { deleted, skipped, nextPageToken, revision: BigInt(start.revision), remainingMax };
    }
  }

  private async subjectsOf(place: Place, context: CallContext): Promise<number> {
    const { state } = await this.options.indexes.info(place, context);
    return state.num_subjects ?? 0;
  }
}

interface Selection {
  readonly place: Place;
  readonly index: BucketIndex;
  readonly filters: readonly Filter[];
  readonly purge: boolean;
  readonly start: Position;
  readonly limit: number;
}

/** One call. */
class Deletion {
  deleted = 0;
  skipped = 0;
  /** Whether every key was visited. */
  isDone = false;
  lastKey: string | undefined;
  private visitedKey: string | undefined;
  private readonly walk: KeyWalk;

  constructor(
    private readonly options: KeyDeletionsOptions,
    private readonly selection: Selection,
    private readonly context: CallContext,
  ) {
    const { index, filters, start } = selection;
    this.lastKey = start.lastKey;
    this.visitedKey = start.lastKey;
    const ranges = rangesOf(filters);
    const rest =
      start.lastKey === undefined ? ranges : within(ranges, after(Buffer.from(start.lastKey)), undefined);
    const { from, to } = index.window;
    this.walk = new KeyWalk(index.keys.snapshot(), within(rest, from, to), filters, false);
  }

  get remainingMax(): number {
    return this.walk.remainingMax;
  }

  /** Deletes chunk by chunk; begins none after `stopMs`, except the first. */
  async run(stopMs: number): Promise<void> {
    const { limit } = this.selection;
    await this.checkIncarnation();
    do {
      const keys = await this.nextKeys(Math.min(CHUNK_KEYS, limit - this.deleted));
      try {
        await this.deleteAll(keys);
        await this.checkIncarnation();
      } catch (error) {
        // The next call visits these keys again, and throws the error if it lasts.
        if (this.deleted === 0) throw error;
        return;
      }
      this.lastKey = this.visitedKey;
      this.isDone = this.walk.isDone;
    } while (!this.isDone && this.deleted < limit && performance.now() < stopMs);
  }

  private async nextKeys(count: number): Promise<readonly WalkedKey[]> {
    const { index, start } = this.selection;
    const keys: WalkedKey[] = [];
    while (!this.walk.isDone && keys.length < count) {
      this.walk.step((key) => {
        if (keys.length === count) return false;
        this.visitedKey = key.key;
        if (key.revision > start.revision) this.skipped++;
        else if (key.expiresAtMs > index.nowMs) keys.push(key);
        return true;
      });
      await nextTurn();
      throwIfEnded(this.context);
    }
    return keys;
  }

  /** Throws the first failure after every delete has ended. */
  private async deleteAll(keys: readonly WalkedKey[]): Promise<void> {
    const results = await Promise.allSettled(keys.map((key) => this.delete(key)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  private async delete({ key, revision }: WalkedKey): Promise<void> {
    const { place, purge } = this.selection;
    const condition = { ifRevision: BigInt(revision) };
    try {
      await this.options.deleteKey(place.bucket, key, { purge, condition }, this.context);
      this.deleted++;
    } catch (error) {
      if (!(error instanceof KvError) || error.kind !== "revision_mismatch") throw error;
      this.skipped++;
    }
  }

  /** A recreated bucket may have the same keys at the same revisions. */
  private async checkIncarnation(): Promise<void> {
    const { place, index } = this.selection;
    const createdAtMs = await this.options.incarnations.createdAtMs(place, this.context, "current");
    if (createdAtMs !== Date.parse(index.created)) throw bucketNotFound(place.bucket);
  }
}

/** Throws `invalid_argument` where there is no filter: a forgotten one must not delete every key. */
function checkFilters(bucket: string, texts: readonly string[]): readonly Filter[] {
  if (texts.length === 0 || texts.includes(""))
    throw invalidArgument(
      `The request has ${texts.length === 0 ? "no filter" : "an empty filter"}; it needs at least one, such as user.*, or > for every key.`,
      { bucket },
    );
  return parseFilters(texts);
}

/** Of the token of an earlier page: `REVISION KEY`. */
function readPosition(text: string): Position {
  const [, revision, lastKey = ""] = /^(\d{1,16}) (.*)$/su.exec(text) ?? [];
  if (revision === undefined) throw malformedPageToken();
  return { revision: Number(revision), lastKey: lastKey === "" ? undefined : lastKey };
}

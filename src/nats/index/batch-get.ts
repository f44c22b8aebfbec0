/**
 * Reads several keys as of one revision of their bucket.
 *
 * The index says which revision each key has. The values of these revisions are read, and compared with the index once more, in one turn of
 * the event loop: what was overwritten meanwhile comes from the feed's memory, or is read again. So the result is the state of all keys at the
 * revision that the index has then.
 *
 * As of an earlier revision, a key that has not changed since has the value that it has now. For the others, the history is read.
 */
import { setTimeout as delay } from "node:timers/promises";
import { invalidArgument, KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { checkKey, streamName } from "../../kv/names.js";
import { bulkScheduler, KEY_WORK_BYTES } from "../../kv/bulk-scheduler.js";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import { HeldMemory } from "../../kv/held-memory.js";
import type { Consistency, KeyBatch } from "../../kv/reads.js";
import { toKvError } from "../client/errors.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import type { ValueReader } from "../read/value-reader.js";
import { BatchSelection, CHANGED_AT_ONCE, type KnownStates } from "./batch-selection.js";
import type { BucketIndex } from "./bucket-index.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { throwIfEnded } from "./key-visit.js";
import type { ReadMemory } from "../read/read-memory.js";
import type { PastStates } from "./past-states.js";

export interface BatchGetOptions {
  readonly indexes: BucketIndexes;
  readonly reader: MessageReader;
  readonly values: ValueReader;
  readonly past: PastStates;
  readonly limits: Limits;
  readonly memory: ReadMemory;
}

/** How long to wait for the index where a value is gone and the index does not know why: it was overwritten, or has expired. */
const PAUSE_MS = 5;
/** A value is held once as it was read, and once in the encoded response, where JSON makes three bytes four. */
const VALUE_FACTOR = 7 / 3;
/** Pages of histories that are read at once, and what the response takes, in pages. */
const HISTORY_PAGES = CHANGED_AT_ONCE + 3;

interface Request {
  readonly place: Place;
  readonly keys: readonly string[];
  /** Undefined: the newest. */
  readonly revision: number | undefined;
  readonly context: CallContext;
  readonly consistency: Consistency;
  /** The memory of the values that were read. */
  readonly held: HeldMemory;
  hasMemoryOfHistories: boolean;
}

export class BatchGet {
  constructor(private readonly options: BatchGetOptions) {}

  /** See `Store.batchGet`. */
  async get(
    bucket: string,
    keys: readonly string[],
    revision: bigint,
    context: CallContext,
    consistency: Consistency = "strong",
  ): Promise<KeyBatch> {
    const place = { bucket, stream: streamName(bucket) };
    const { batchKeysMax } = this.options.limits;
    if (keys.length === 0 || keys.length > batchKeysMax)
      throw invalidArgument(`There are ${keys.length} keys; a batch has 1 to ${batchKeysMax}.`, { bucket });
    for (const key of keys) checkKey(key);
    const asked = revision === 0n ? undefined : Number(revision);
    const held = context.held ?? new HeldMemory();
    try {
      const batch = await this.read({
        ...{ place, keys, revision: asked, context, consistency, held },
        hasMemoryOfHistories: false,
      });
      const bytes = batch.results.reduce(
        (sum, { entry }) => sum + KEY_WORK_BYTES + (entry?.value.length ?? 0),
        0,
      );
      await bulkScheduler.turnIfLong(flowOf(context), bytes);
      return batch;
    } catch (error) {
      throw toKvError(error, { bucket });
    } finally {
      if (context.held === undefined) held.release();
    }
  }

  private async read(request: Request): Promise<KeyBatch> {
    const { indexes, limits } = this.options;
    const { place, context, consistency } = request;
    const known: KnownStates = { values: new Map(), past: new Map() };
    for (let isFirst = true; ; isFirst = false) {
      // Later on, it still has what it had at first.
      const needed = { kind: "named", keys: request.keys } as const;
      const index = await indexes.current(place, context, needed, isFirst ? consistency : "eventual");
      throwIfEnded(context);
      if (isFirst) await this.checkWritten(request, index);
      const { keys, revision } = request;
      const { bucket } = place;
      const selection = new BatchSelection(bucket, index, keys, revision, known, limits.pageBytesMax);
      if (selection.batch !== undefined) return selection.batch;
      await this.learn(request, index, selection, known);
    }
  }

  /** Reads what the selection lacks. */
  private async learn(
    request: Request,
    index: BucketIndex,
    { changed, missing }: BatchSelection,
    known: KnownStates,
  ): Promise<void> {
    const { place, revision = 0, context, consistency, held } = request;
    const { values, past, memory } = this.options;
    const { pageBytesMax } = this.options.limits;
    const { created } = index;
    const learnPast = async (key: string): Promise<void> => {
      known.past.set(key, await past.of(place, key, { revision, created }, context));
    };
    if (changed.length > 0) {
      if (!request.hasMemoryOfHistories) await memory.hold(HISTORY_PAGES * pageBytesMax, held, context);
      // Later on, it reads others in their place.
      request.hasMemoryOfHistories = true;
      await Promise.all(changed.map(learnPast));
      return;
    }
    const bytes = missing.reduce((sum, { key, valueBytes }) => sum + key.length + valueBytes, 0);
    // Later on, it reads what was overwritten meanwhile.
    await memory.hold(Math.ceil(VALUE_FACTOR * bytes), held, context);
    const read = await values.read(place, missing, context, { consistency });
    let areAllFound = true;
    for (let at = 0; at < missing.length; at++) {
      const entry = read.entryAt(at);
      if (entry === undefined) areAllFound = false;
      else known.values.set(entry.key, entry);
    }
    if (read.newest > index.revision) await index.appliedThrough(read.newest, context);
    else if (!areAllFound) await delay(PAUSE_MS);
  }

  private async checkWritten({ place, revision = 0, context }: Request, index: BucketIndex): Promise<void> {
    if (revision <= index.revision) return;
    const newest = (await this.options.reader.stream(place, context)).state.last_seq;
    if (revision <= newest) await index.appliedThrough(revision, context);
    else
      throw new KvError(
        "revision_in_future",
        `The revision ${revision} has not been written; the bucket's newest is ${newest}.`,
        { bucket: place.bucket, revision: BigInt(newest) },
      );
  }
}

/**
 * One scan: the keys come from a snapshot of the index, and their values are read part by part, as fast as the client takes them.
 *
 * The first part, a few megabytes, is always exact at one revision: where a value was overwritten before it was read, the scan moves to a
 * later revision and keeps what it has read. After that, entries have been sent, and the scan can only stay at its revision. A value of that
 * revision that neither the storage nor the feed's memory has any more ends it, unless the client allows later parts to be newer.
 *
 * Where the index has a window of the bucket's keys, the scan continues with the next window. It stays at its revision as long as none of that
 * window's keys was written since.
 */
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import type { Filter } from "../../kv/filter.js";
import { quote } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Entry } from "../../kv/entry.js";
import type { ScanOptions, ScanPart } from "../../kv/reads.js";
import { bucketNotFound, toKvError } from "../client/errors.js";
import type { Place } from "../client/message-reader.js";
import { isSame } from "../read/found-values.js";
import { PASS_VALUES_MIN } from "../read/value-pass.js";
import type { ValueReader } from "../read/value-reader.js";
import type { BucketIndex } from "./bucket-index.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { after, within, type KeyRange } from "./key-ranges.js";
import type { KeySnapshot } from "./key-tree.js";
import { KeyWalk, type WalkedKey } from "./key-walk.js";
import type { KeyWindow, NeededRange } from "./key-window.js";
import type { ReadMemory } from "../read/read-memory.js";
import { type EntryList, KeysAlone, partsOf, ReadEntries } from "./scan-parts.js";

export interface RunningScanOptions {
  readonly place: Place;
  readonly indexes: BucketIndexes;
  readonly values: ValueReader;
  readonly memory: ReadMemory;
  readonly filters: readonly Filter[];
  readonly ranges: readonly KeyRange[];
  /** From the first range to the last one. */
  readonly needed: NeededRange;
  readonly scan: ScanOptions;
  /** Of each request to the storage. */
  readonly context: () => CallContext;
}

/** Values and keys of the first part: up to here, a scan is always exact at one revision. */
export const FIRST_PART_BYTES = 8 * 1_048_576;
/** A part of so many small values is read in a pass over the stream, if there is memory to spare: the more values, the fewer passes. */
const PASS_BYTES = { first: 32 * 1_048_576, later: 16 * 1_048_576 };
/** Above this size on average, entries gain nothing by that. */
const SMALL_ENTRY_BYTES = 4_096;
/** A later part: one is read while another is sent. */
const LATER_PART_BYTES = 262_144;
/** What an entry takes beside its key and value, until it is encoded. */
const ENTRY_BYTES = 192;
/** How long to wait for the index where a value is gone and the index does not know why. */
const PAUSE_MS = 5;

/** The keys as of a revision. */
interface View {
  readonly index: BucketIndex;
  readonly keys: KeySnapshot;
  readonly window: KeyWindow;
  readonly revision: number;
}

/** Entries of keys, in their order. */
interface Found {
  readonly entries: EntryList;
  /** The first key whose value is gone; undefined: none is. */
  readonly goneKey?: string | undefined;
}

interface Collected {
  /** Created as they are taken. */
  readonly parts: Iterable<ScanPart>;
  readonly release: () => void;
}

export class RunningScan {
  private walk: KeyWalk;
  /** The last key that was collected. */
  private lastKey: string | undefined;
  private left: number;
  private readonly created: string;
  /** Of the window that is read. */
  private release: (() => void) | undefined;

  private constructor(
    private readonly options: RunningScanOptions,
    private view: View,
  ) {
    this.created = view.index.created;
    this.left = options.scan.limit === 0 ? Infinity : options.scan.limit;
    this.walk = this.walkFrom(undefined);
  }

  static open(options: RunningScanOptions, index: BucketIndex): RunningScan {
    return new RunningScan(options, viewOf(index));
  }

  /** The parts, of which the last has an `end`. Throws `KvError`. */
  async *parts(): AsyncGenerator<ScanPart, undefined> {
    let ahead: Promise<Collected> | undefined;
    try {
      if (!this.hasAllKeys) await this.hold();
      ahead = this.collect("first", true);
      while (ahead !== undefined) {
        const { parts, release } = await ahead;
        ahead = undefined;
        try {
          if (!this.isDone) {
            ahead = this.collect("later", this.options.scan.allowNewer);
            ahead.catch(() => undefined);
          }
          for (const part of parts) yield part;
        } finally {
          release();
        }
      }
      yield { entries: [], revision: BigInt(this.view.revision), end: await this.end() };
    } catch (error) {
      throw toKvError(error, { bucket: this.options.place.bucket });
    } finally {
      // A part that is read ahead is not needed any more.
      const over = ahead?.then(
        ({ release }) => release(),
        () => undefined,
      );
      if (over === undefined) this.release?.();
      else void over.finally(() => this.release?.());
    }
  }

  private get isDone(): boolean {
    return (this.walk.isDone && this.hasAllKeys) || this.left === 0;
  }

  /** Whether no window follows. */
  private get hasAllKeys(): boolean {
    return this.view.window.completes(this.options.needed);
  }

  private async end(): Promise<NonNullable<ScanPart["end"]>> {
    let hasMore = false as boolean;
    while (!(this.walk.isDone && this.hasAllKeys) && !hasMore) {
      if (this.walk.isDone) await this.goOn();
      this.walk.step((key) => {
        hasMore ||= !this.hasExpired(key);
        return !hasMore;
      });
      await nextTurn();
    }
    return { isComplete: !hasMore, bucketCreatedAtMs: Date.parse(this.created) };
  }

  /** Collects entries, which are exact at the view's revision. `mayMove`: whether the view may become a later one. */
  private async collect(which: "first" | "later", mayMove: boolean): Promise<Collected> {
    const { memory, context } = this.options;
    const partBytes = which === "first" ? FIRST_PART_BYTES : LATER_PART_BYTES;
    const spareBytes = this.mayPass ? PASS_BYTES[which] : partBytes;
    const { bytes: bytesMax, release } = await memory.reserve(partBytes, spareBytes, context());
    try {
      const known = new Map<string, Entry>();
      if (this.walk.isDone && !this.hasAllKeys) await this.goOn();
      for (;;) {
        const keys = await this.nextKeys(Math.min(FIRST_PART_BYTES, bytesMax), bytesMax);
        const { entries, goneKey } = await this.read(keys, known);
        if (goneKey === undefined) {
          this.lastKey = keys.at(-1)?.key ?? this.lastKey;
          this.left -= keys.length;
          return { parts: partsOf(entries, BigInt(this.view.revision)), release };
        }
        if (!mayMove) throw this.overwritten(goneKey);
        await this.move();
      }
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Whether what is left may be enough for a pass over the stream. */
  private get mayPass(): boolean {
    const { scan } = this.options;
    return !scan.keysOnly && Math.min(this.left, this.walk.remainingMax) >= PASS_VALUES_MIN;
  }

  /** At least one key, and entries of at most `bytesMax`, or of `smallBytesMax` as long as they are small. */
  private async nextKeys(bytesMax: number, smallBytesMax: number): Promise<WalkedKey[]> {
    const keys: WalkedKey[] = [];
    let bytes = 0;
    let isFull = false as boolean;
    while (!this.walk.isDone && !isFull) {
      this.walk.step((key) => {
        if (this.hasExpired(key)) return true;
        const size = ENTRY_BYTES + key.key.length + (this.options.scan.keysOnly ? 0 : key.valueBytes);
        const areSmall = bytes <= keys.length * SMALL_ENTRY_BYTES;
        const isTooLarge = bytes + size > (areSmall ? smallBytesMax : bytesMax);
        isFull = keys.length >= this.left || (keys.length > 0 && isTooLarge);
        if (isFull) return false;
        keys.push(key);
        bytes += size;
        return true;
      });
      await nextTurn();
    }
    return keys;
  }

  /** Reads the values of keys. `known`: what was read of an earlier view; where a value is gone, what has been read is added. */
  private async read(keys: readonly WalkedKey[], known: Map<string, Entry>): Promise<Found> {
    const { place, values, context, scan } = this.options;
    const { index, revision } = this.view;
    if (scan.keysOnly) return { entries: new KeysAlone(keys) };
    const { details } = index.state;
    const contentTypeOf = (detail: number): string | undefined => details.contentTypeOf(detail);
    const inMemory = keys.map((key) => this.entryInMemory(key, known));
    const wanted = keys.filter((_, at) => inMemory[at] === undefined);
    const read = await values.read(place, wanted, context(), { seeksOlder: true, contentTypeOf });
    const entries = new ReadEntries(inMemory, read, wanted.length);
    const gone = wanted.find((key, at) => !read.has(at) && !this.hasExpired(key));
    if (gone === undefined) return { entries };
    for (let at = 0; at < entries.length; at++) {
      const entry = entries.at(at);
      if (entry !== undefined) known.set(entry.key, entry);
    }
    if (read.newest > revision) await index.appliedThrough(read.newest, context());
    else await delay(PAUSE_MS);
    return { entries, goneKey: gone.key };
  }

  private entryInMemory(key: WalkedKey, known: ReadonlyMap<string, Entry>): Entry | undefined {
    const entry = known.get(key.key) ?? this.view.index.recent(key.revision)?.entry();
    return entry?.key === key.key && isSame(entry, key) ? entry : undefined;
  }

  /** Goes on at the index's present revision, after the last key that was collected. */
  private async move(): Promise<void> {
    const { needed, scan } = this.options;
    const last = this.lastKey === undefined ? undefined : Buffer.from(this.lastKey);
    const rest = last === undefined ? {} : scan.isReverse ? { to: last } : { from: after(last) };
    this.view = viewOf(await this.indexFor({ ...needed, ...rest }));
    this.walk = this.walkFrom(this.lastKey);
    if (this.release === undefined && !this.hasAllKeys) await this.hold();
  }

  /** Continues with the next window. */
  private async goOn(): Promise<void> {
    const { needed, place, scan } = this.options;
    const { revision, window } = this.view;
    const index = await this.indexFor(window.restOf(needed));
    const next = viewOf(index);
    if (!scan.allowNewer && (await index.hasChangedSince(revision)))
      throw new KvError(
        "revision_compacted",
        `The scan at the revision ${revision} can't continue: keys have changed since, and the key index does not hold all keys of the bucket. Set allow_newer, or raise INDEX_BYTES_MAX.`,
        { bucket: place.bucket },
      );
    this.view = scan.allowNewer ? next : { ...next, revision };
    this.walk = this.walkFrom(this.lastKey);
  }

  private async indexFor(needed: NeededRange): Promise<BucketIndex> {
    const { indexes, place, context } = this.options;
    const index = await indexes.current(place, context(), needed, "eventual");
    if (index.created !== this.created) throw bucketNotFound(place.bucket);
    return index;
  }

  private async hold(): Promise<void> {
    const { indexes, context } = this.options;
    this.release = await indexes.hold(context());
  }

  private walkFrom(lastKey: string | undefined): KeyWalk {
    const { ranges, filters, scan } = this.options;
    const { keys, window } = this.view;
    const last = lastKey === undefined ? undefined : Buffer.from(lastKey);
    const rest =
      last === undefined
        ? ranges
        : scan.isReverse
          ? within(ranges, undefined, last)
          : within(ranges, after(last), undefined);
    return new KeyWalk(keys, within(rest, window.from, window.to), filters, scan.isReverse);
  }

  private hasExpired({ expiresAtMs }: WalkedKey): boolean {
    return expiresAtMs !== Infinity && expiresAtMs <= this.view.index.nowMs;
  }

  private overwritten(key: string): KvError {
    const { bucket } = this.options.place;
    const { revision } = this.view;
    return new KvError(
      "revision_compacted",
      `The key ${quote(key)} has changed since the revision ${revision} of the scan, and the value that it had then is no longer kept. Scan again, raise the bucket's history, or set allow_newer.`,
      { bucket, key },
    );
  }
}

function viewOf(index: BucketIndex): View {
  const { window, revision } = index;
  return { index, keys: index.keys.snapshot(), window, revision };
}

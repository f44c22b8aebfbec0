/**
 * One scan: the keys come from a snapshot of the index, and their values are read part by part, as fast as the client takes them.
 *
 * The first part, a few megabytes, is always exact at one revision: where a value was overwritten before it was read, the scan moves to a
 * later revision and keeps what it has read. After that, entries have been sent, and the scan can only stay at its revision. A value of that
 * revision that neither the storage nor the feed's memory has any more ends it, unless the client allows later parts to be newer.
 */
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import type { Filter } from "../../kv/filter.js";
import { quote } from "../../kv/names.js";
import type { CallContext, Entry, ScanOptions, ScanPart } from "../../kv/store.js";
import { bucketNotFound, toKvError } from "../client/errors.js";
import type { Place } from "../client/message-reader.js";
import { isSame, type ValueReader } from "../read/value-reader.js";
import type { BucketIndex } from "./bucket-index.js";
import type { BucketIndexes } from "./bucket-indexes.js";
import { after, within, type KeyRange } from "./key-ranges.js";
import type { KeySnapshot } from "./key-tree.js";
import { KeyWalk, type WalkedKey } from "./key-walk.js";
import type { ScanMemory } from "./scan-memory.js";

export interface RunningScanOptions {
  readonly place: Place;
  readonly indexes: BucketIndexes;
  readonly values: ValueReader;
  readonly memory: ScanMemory;
  readonly filters: readonly Filter[];
  readonly ranges: readonly KeyRange[];
  readonly scan: ScanOptions;
  /** Of each request to the storage. */
  readonly context: () => CallContext;
}

/** Values and keys of the first part: up to here, a scan is always exact at one revision. */
export const FIRST_PART_BYTES = 8 * 1_048_576;
/** Of a later part: one is read while another is sent. */
const PART_BYTES = 262_144;
/** Entries of one message. */
const MESSAGE_ENTRIES = 512;
/** Values of one message, unless a single value is larger: below the 4 MiB that gRPC clients accept. */
const MESSAGE_BYTES = 262_144;
/** What an entry takes beside its key and value. */
const ENTRY_BYTES = 256;
/** How long to wait for the index where a value is gone and the index does not know why. */
const PAUSE_MS = 5;
const NO_BYTES = new Uint8Array(0);

/** The keys as of a revision. */
interface View {
  readonly index: BucketIndex;
  readonly keys: KeySnapshot;
  readonly revision: number;
}

interface Collected {
  readonly parts: readonly ScanPart[];
  readonly release: () => void;
}

export class RunningScan {
  private walk: KeyWalk;
  /** The last key that was collected. */
  private lastKey: string | undefined;
  private left: number;
  private readonly created: string;

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
    let ahead: Promise<Collected> | undefined = this.collect(FIRST_PART_BYTES, true);
    try {
      while (ahead !== undefined) {
        const { parts, release } = await ahead;
        ahead = undefined;
        try {
          if (!this.isDone) {
            ahead = this.collect(PART_BYTES, this.options.scan.allowNewer);
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
      ahead?.then(
        ({ release }) => release(),
        () => undefined,
      );
    }
  }

  private get isDone(): boolean {
    return this.walk.isDone || this.left === 0;
  }

  private async end(): Promise<NonNullable<ScanPart["end"]>> {
    let hasMore = false as boolean;
    while (!this.walk.isDone && !hasMore) {
      this.walk.step((key) => {
        hasMore ||= !this.hasExpired(key);
        return !hasMore;
      });
      await nextTurn();
    }
    return { isComplete: !hasMore, bucketCreatedAtMs: Date.parse(this.created) };
  }

  /** Collects entries, which are exact at the view's revision. `mayMove`: whether the view may become a later one. */
  private async collect(bytesMax: number, mayMove: boolean): Promise<Collected> {
    const { memory, context } = this.options;
    const release = await memory.reserve(bytesMax, context());
    try {
      const known = new Map<string, Entry>();
      for (;;) {
        const keys = await this.nextKeys(bytesMax);
        const missing = await this.read(keys, known);
        if (missing === undefined) {
          this.lastKey = keys.at(-1)?.key ?? this.lastKey;
          this.left -= keys.length;
          const entries = keys.flatMap(({ key }) => known.get(key) ?? []);
          return { parts: partsOf(entries, BigInt(this.view.revision)), release };
        }
        if (!mayMove) throw this.overwritten(missing);
        await this.move();
      }
    } catch (error) {
      release();
      throw error;
    }
  }

  private async nextKeys(bytesMax: number): Promise<WalkedKey[]> {
    const keys: WalkedKey[] = [];
    let bytes = 0;
    let isFull = false as boolean;
    while (!this.walk.isDone && !isFull) {
      this.walk.step((key) => {
        if (this.hasExpired(key)) return true;
        const size = ENTRY_BYTES + key.key.length + (this.options.scan.keysOnly ? 0 : key.valueBytes);
        isFull = keys.length >= this.left || (keys.length > 0 && bytes + size > bytesMax);
        if (isFull) return false;
        keys.push(key);
        bytes += size;
        return true;
      });
      await nextTurn();
    }
    return keys;
  }

  /** Reads the values of keys into `known`. Returns the first key whose value is gone. */
  private async read(keys: readonly WalkedKey[], known: Map<string, Entry>): Promise<string | undefined> {
    const { place, values, context, scan } = this.options;
    const { index, revision } = this.view;
    if (scan.keysOnly) {
      for (const key of keys) known.set(key.key, keyAlone(key));
      return undefined;
    }
    const wanted = keys.filter((key) => {
      const entry = known.get(key.key) ?? index.recent(key.revision)?.entry();
      const isKnown = entry?.key === key.key && isSame(entry, key);
      if (isKnown) known.set(key.key, entry);
      return !isKnown;
    });
    if (wanted.length === 0) return undefined;
    const { entries, newest } = await values.read(place, wanted, context(), { seeksOlder: true });
    for (const [key, entry] of entries) known.set(key, entry);
    const gone = wanted.find((key) => !entries.has(key.key) && !this.hasExpired(key));
    for (const { key } of wanted) if (!entries.has(key)) known.delete(key);
    if (gone === undefined) return undefined;
    if (newest > revision) await index.appliedThrough(newest, context());
    else await delay(PAUSE_MS);
    return gone.key;
  }

  /** Goes on at the index's present revision, after the last key that was collected. */
  private async move(): Promise<void> {
    const { indexes, place, context } = this.options;
    const index = await indexes.current(place, context(), "eventual");
    if (index.created !== this.created) throw bucketNotFound(place.bucket);
    this.view = viewOf(index);
    this.walk = this.walkFrom(this.lastKey);
  }

  private walkFrom(lastKey: string | undefined): KeyWalk {
    const { ranges, filters, scan } = this.options;
    const last = lastKey === undefined ? undefined : Buffer.from(lastKey);
    const rest =
      last === undefined
        ? ranges
        : scan.isReverse
          ? within(ranges, undefined, last)
          : within(ranges, after(last), undefined);
    return new KeyWalk(this.view.keys, rest, filters, scan.isReverse);
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
  return { index, keys: index.keys.snapshot(), revision: index.revision };
}

/** An entry of which only the key index was asked. */
function keyAlone({ key, revision, timeMs }: WalkedKey): Entry {
  return {
    ...{ key, value: NO_BYTES, revision: BigInt(revision), createdAtMs: timeMs, createdAtNanos: 0 },
    ...{ operation: "put", contentType: "" },
  };
}

function partsOf(entries: readonly Entry[], revision: bigint): ScanPart[] {
  const parts: ScanPart[] = [];
  let current: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const isFull = current.length === MESSAGE_ENTRIES || bytes + entry.value.length > MESSAGE_BYTES;
    if (isFull && current.length > 0) {
      parts.push({ entries: current, revision });
      current = [];
      bytes = 0;
    }
    current.push(entry);
    bytes += entry.value.length;
  }
  if (current.length > 0) parts.push({ entries: current, revision });
  return parts;
}

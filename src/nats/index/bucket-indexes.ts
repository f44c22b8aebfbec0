/** The indexes of the buckets in use: loaded when they are first asked for, the least recently used dropped when they take too much memory. */
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import type { Limits } from "../../kv/limits.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Consistency } from "../../kv/reads.js";
import type { KeyIndexStats } from "../../kv/store-stats.js";
import { toKvError, unavailable } from "../client/errors.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import { RequestCoalescer } from "../client/request-coalescer.js";
import { withinContext } from "../client/shared-work.js";
import type { Log } from "../client/log.js";
import type { BucketFeeds } from "../feed/bucket-feed.js";
import { BucketIndex } from "./bucket-index.js";
import { checkedOf } from "./checked.js";
import { Checkpoints } from "./checkpoints.js";
import { HeldWindows } from "./held-windows.js";
import { defaultIndexBytesMax, memoryOf } from "./index-memory.js";
import { COUNT_ALONE, type NeededKeys } from "./key-window.js";
import type { IndexSizes } from "./window-load.js";
import { IndexLoader } from "./index-loader.js";
import { LargeBuckets } from "./large-buckets.js";
import type { ScanOptions } from "./stream-scan.js";
import type { WrittenRevisions } from "./written-revisions.js";

export interface BucketIndexesOptions extends ScanOptions {
  readonly feeds: BucketFeeds;
  readonly reader: MessageReader;
  readonly limits: Limits;
  /** What this process wrote, where nobody else writes to the server: then it need not ask what was written. */
  readonly written: WrittenRevisions | undefined;
  readonly log: Log | undefined;
  /** Where the indexes are written to, to be read at the next start. Undefined: nowhere. */
  readonly checkpointFolder: string | undefined;
  readonly disk: { readonly hasRoom: boolean };
}

/** An index, and its loading. */
interface Entry {
  readonly index: BucketIndex;
  /** Undefined: it is loaded. */
  loading: Promise<void> | undefined;
  /** Calls that are about to read it. */
  readers: number;
  /** Calls that wait until nobody reads it, to load another window. */
  readonly waiting: (() => void)[];
}

/** An index that ends while a call waits for it is loaded again this often for that call. */
const ATTEMPTS_MAX = 5;
const DIFFERENT_SENTENCE =
  "the key index of a bucket differs from the storage after it was loaded; it is loaded again";
/** How often the memory of all indexes is added up. */
const MEMORY_CHECK_MS = 1_000;
/** How long an eventual read waits for an index that is being brought up to date. */
const EVENTUAL_WAIT_MS_MAX = 250;
/** A window, and those that running scans hold, share the memory for indexes. */
const HELD_WINDOWS_MAX = 3;
const WINDOW_PART = 1 / (1 + HELD_WINDOWS_MAX);
/** No index is smaller than this, whatever the setting. */
const INDEX_BYTES_MIN = 131_072;

export class BucketIndexes {
  /** By stream; the most recently used stand last. */
  private readonly entries = new Map<string, Entry>();
  /** Streams whose index did not fit them right after it was loaded. */
  private readonly different = new Set<string>();
  private readonly infos: RequestCoalescer<StreamInfo>;
  private timer: NodeJS.Timeout | undefined;
  private bytes = 0;
  private loads = 0;
  private waits = 0;

  private readonly large = new LargeBuckets();
  private readonly heldWindows = new HeldWindows(HELD_WINDOWS_MAX);
  private peakBytes = 0;
  private readonly bytesMax: number;
  private readonly sizes: IndexSizes;
  private readonly checkpoints: Checkpoints | undefined;
  private readonly loader: IndexLoader;

  constructor(private readonly options: BucketIndexesOptions) {
    const { indexBytesMax } = options.limits;
    this.bytesMax = Math.max(INDEX_BYTES_MIN, indexBytesMax > 0 ? indexBytesMax : defaultIndexBytesMax());
    const windowBytesMax = Math.floor(WINDOW_PART * this.bytesMax);
    this.sizes = { wholeBytesMax: this.bytesMax, windowBytesMax };
    options.requests.onDisconnect(() => this.indexes.forEach((index) => index.interrupt()));
    const { checkpointFolder: folder } = options;
    this.checkpoints =
      folder === undefined ? undefined : new Checkpoints({ ...options, folder, bytesMax: this.bytesMax });
    this.loader = new IndexLoader(options, this.checkpoints, this.bytesMax);
    this.infos = new RequestCoalescer(options.limits.callTimeoutMsMax);
  }

  /**
   * The bucket's index, with everything that the read must see, for use in this turn of the event loop. Where the bucket's keys do not fit
   * into memory, it has a window of them, with which the read can begin. `known`: the stream as the call has read it already. Throws `KvError`.
   */
  async current(
    place: Place,
    context: CallContext,
    needed: NeededKeys,
    consistency: Consistency = "strong",
    known?: StreamInfo,
  ): Promise<BucketIndex> {
    const ready = consistency === "strong" ? this.ready(place, needed, known) : undefined;
    if (ready !== undefined) return ready;
    try {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        const entry = await this.open(place, needed, context);
        const { index } = entry;
        try {
          await this.within(context, consistency === "strong" ? index.confirmed() : undefined);
          if (consistency === "strong") await this.catchUp(place, index, context, known);
          await this.readable(index, context, consistency);
        } finally {
          if (--entry.readers === 0) for (const wake of entry.waiting.splice(0)) wake();
        }
        if (!index.isOver) return index;
      }
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
    throw unavailable({ bucket: place.bucket });
  }

  /** The index of a bucket whose keys all fit into memory; undefined: they do not. */
  async whole(place: Place, context: CallContext): Promise<BucketIndex | undefined> {
    if (this.large.has(place.stream)) return undefined;
    const index = await this.current(place, context, COUNT_ALONE);
    return index.window.isAll ? index : undefined;
  }

  /** The stream's state; shared by those who ask at the same time. */
  info(place: Place, context: CallContext): Promise<StreamInfo> {
    return this.infos.get(place.stream, context, (shared) => this.options.reader.stream(place, shared));
  }

  /** Call it before a window of an index is read for longer. See `HeldWindows`. */
  hold(context: CallContext): Promise<() => void> {
    return this.heldWindows.hold(context);
  }

  /** The bucket's configuration was changed. */
  reconfigured(stream: string, info: StreamInfo): void {
    this.entries.get(stream)?.index.compare(checkedOf(info));
  }

  /** The bucket was deleted. */
  forget({ bucket, stream }: Place): void {
    this.drop(stream);
    this.different.delete(stream);
    this.large.forget(stream);
    this.checkpoints?.forget(stream);
    this.options.written?.forget(bucket);
  }

  stats(): KeyIndexStats {
    this.addUp();
    const keys = this.indexes.reduce((sum, index) => sum + index.keys.size, 0);
    const { entries, bytes, peakBytes, loads, waits } = this;
    const { restores } = this.loader;
    return { buckets: entries.size, keys, bytes, peakBytes, loads, restores, waits };
  }

  /** Ends all indexes. Resolves when those that have changed are written. */
  async close(): Promise<void> {
    this.loader.isClosed = true;
    clearInterval(this.timer);
    for (const [stream, { index }] of this.entries) await this.checkpoints?.write(stream, index);
    for (const stream of [...this.entries.keys()]) this.drop(stream);
  }

  /** The index for a strong read, if nothing is to be waited for. */
  private ready(place: Place, needed: NeededKeys, known: StreamInfo | undefined): BucketIndex | undefined {
    const entry = this.entries.get(place.stream);
    if (entry?.loading !== undefined || entry?.index.serves(needed) !== true) return undefined;
    const { index } = entry;
    const newest = this.newestRevision(place, index, known);
    const isReady = newest !== undefined && index.isReadable(newest);
    return isReady ? this.markUsed(place.stream, entry) : undefined;
  }

  /** The revision up to which a strong read must see the bucket; undefined: ask the storage. */
  private newestRevision(place: Place, index: BucketIndex, info: StreamInfo | undefined): number | undefined {
    const written = this.options.written?.newest(place.bucket);
    if (info === undefined) return written;
    index.compare(checkedOf(info));
    return Math.max(written ?? 0, info.state.last_seq);
  }

  private async catchUp(
    place: Place,
    index: BucketIndex,
    context: CallContext,
    known: StreamInfo | undefined,
  ): Promise<void> {
    let newest = this.newestRevision(place, index, known);
    newest ??= this.newestRevision(place, index, await this.info(place, context)) ?? 0;
    const applied = index.isOver ? undefined : index.appliedThrough(newest, context);
    if (applied === undefined) return;
    this.waits++;
    await withinContext(context, applied, this.options.requests).catch((error: unknown) => {
      if (!index.isOver) throw error;
    });
  }

  /** Resolves when the index is what the bucket was at one revision, without expired keys, or it is over. */
  private async readable(index: BucketIndex, context: CallContext, consistency: Consistency): Promise<void> {
    // An eventual read does not wait for long: the storage may be away.
    const untilMs = consistency === "strong" ? Infinity : performance.now() + EVENTUAL_WAIT_MS_MAX;
    while (!index.isOver) {
      const gap = performance.now() < untilMs ? index.complete() : undefined;
      const atMost = gap !== undefined && untilMs < Infinity ? [delay(EVENTUAL_WAIT_MS_MAX)] : [];
      const isSwept = index.sweep();
      const rest = isSwept ? (index.wholeCommit(context) ?? gap) : nextTurn();
      if (rest === undefined) return;
      await this.within(context, Promise.race([rest, ...atMost]));
    }
  }

  private async within(context: CallContext, promise: Promise<void> | undefined): Promise<void> {
    if (promise !== undefined) await withinContext(context, promise, this.options.requests);
  }

  /** A loaded index with which a read that needs these keys can begin; the caller is one of its readers. */
  private async open(place: Place, needed: NeededKeys, context: CallContext): Promise<Entry> {
    for (;;) {
      const entry = this.opened(place, needed);
      if (entry.loading !== undefined) context.extendDeadline?.();
      await this.within(context, entry.loading);
      if (entry.index.isOver || entry.index.serves(needed)) {
        entry.readers++;
        return entry;
      }
      if (entry.readers > 0)
        await this.within(context, new Promise<void>((resolve) => entry.waiting.push(resolve)));
      else if (this.entries.get(place.stream) === entry) this.drop(place.stream);
    }
  }

  private opened(place: Place, needed: NeededKeys): Entry {
    const { stream } = place;
    let entry = this.entries.get(stream);
    if (entry === undefined) {
      const index = new BucketIndex({
        ...{ sizes: this.sizes, needed, isLarge: this.large.has(stream) },
        acceptsDifference: this.different.has(stream),
        onOver: (why) => {
          if (!index.isVerified) {
            this.different.add(stream);
            this.options.log?.warn({ bucket: place.bucket, why }, DIFFERENT_SENTENCE);
          }
          if (this.entries.get(stream)?.index === index) this.entries.delete(stream);
        },
      });
      this.loads++;
      const loading = this.loader.load(place, index).then(() => {
        if (!index.window.isAll) this.large.note(stream);
        // The others are added up at intervals: there may be thousands.
        this.bytes += index.memoryBytes;
        if (this.bytes > this.bytesMax) this.evict();
      });
      const opened: Entry = { index, loading, readers: 0, waiting: [] };
      loading.then(
        () => (opened.loading = undefined),
        () => {
          index.close();
          if (this.entries.get(stream) === opened) this.entries.delete(stream);
        },
      );
      entry = opened;
    }
    this.markUsed(stream, entry);
    this.timer ??= setInterval(() => this.tick(), MEMORY_CHECK_MS).unref();
    return entry;
  }

  private markUsed(stream: string, entry: Entry): BucketIndex {
    this.entries.delete(stream);
    this.entries.set(stream, entry);
    return entry.index;
  }

  private drop(stream: string): void {
    const entry = this.entries.get(stream);
    this.entries.delete(stream);
    entry?.index.close();
  }

  private tick(): void {
    this.evict();
    for (const [stream, { index }] of this.entries) void this.checkpoints?.writeIfDue(stream, index);
  }

  private get indexes(): readonly BucketIndex[] {
    return Array.from(this.entries.values(), ({ index }) => index);
  }

  private addUp(): void {
    [this.bytes, this.peakBytes] = memoryOf(this.indexes, this.peakBytes);
  }

  /** Drops the least recently used indexes until the others fit. The last one, if it does not fit, is loaded again as a window. */
  private evict(): void {
    this.addUp();
    for (const [stream, { index }] of this.entries) {
      if (this.bytes <= this.bytesMax) return;
      if (this.entries.size === 1) {
        const isCut = !index.window.isAll || index.keys.memoryBytes <= this.sizes.windowBytesMax;
        if (isCut && !index.hasTooManyTombstones) return;
        if (!isCut) this.large.note(stream);
      }
      this.bytes -= index.memoryBytes;
      this.drop(stream);
    }
  }
}

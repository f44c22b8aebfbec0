/** The indexes of the buckets in use: loaded when they are first asked for, the least recently used dropped when they take too much memory. */
import { totalmem } from "node:os";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { subjectPrefix } from "../../kv/names.js";
import type { CallContext, Consistency } from "../../kv/store.js";
import type { KeyIndexStats } from "../../kv/store-stats.js";
import { bucketNotFound, toKvError, unavailable } from "../client/errors.js";
import { serverTimeMs, type StreamInfo } from "../client/jetstream-api.js";
import { existing, type MessageReader, type Place } from "../client/message-reader.js";
import { RequestCoalescer } from "../client/request-coalescer.js";
import { withinContext } from "../client/shared-work.js";
import type { Log } from "../client/log.js";
import type { BucketFeeds, Following } from "../feed/bucket-feed.js";
import { compactedTo } from "../streams/stream-config.js";
import { BucketIndex, type Checked } from "./bucket-index.js";
import { type ScanOptions, scanInParts } from "./stream-scan.js";
import type { WrittenRevisions } from "./written-revisions.js";

export interface BucketIndexesOptions extends ScanOptions {
  readonly feeds: BucketFeeds;
  readonly reader: MessageReader;
  readonly limits: Limits;
  /** What this process wrote, where nobody else writes to the server: then it need not ask what was written. */
  readonly written: WrittenRevisions | undefined;
  readonly log: Log | undefined;
}

/** An index, and its loading. */
interface Entry {
  readonly index: BucketIndex;
  /** Undefined: it is loaded. */
  loading: Promise<void> | undefined;
}

const NANOS_PER_MS = 1_000_000;
/** An index that ends while a call waits for it is loaded again this often for that call. */
const ATTEMPTS_MAX = 5;
const DIFFERENT_SENTENCE =
  "the key index of a bucket differs from the storage after it was loaded; it is loaded again";
/** How often the memory of all indexes is added up. */
const MEMORY_CHECK_MS = 1_000;
/** The part of the machine's memory that indexes may take by default. */
const MEMORY_PART = 0.1;
const FOLLOW_TIMEOUT_MS = 5_000;
const RETRY_MS = 50;
const LOAD_TIMEOUT_MS = 300_000;
const NEVER_ABORTED = new AbortController().signal;

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
  private isClosed = false;

  private readonly bytesMax: number;

  constructor(private readonly options: BucketIndexesOptions) {
    const { indexBytesMax } = options.limits;
    this.bytesMax = indexBytesMax > 0 ? indexBytesMax : Math.floor(memoryBytes() * MEMORY_PART);
    options.requests.onDisconnect(() => {
      for (const { index } of this.entries.values()) index.interrupt();
    });
    this.infos = new RequestCoalescer(options.limits.callTimeoutMsMax);
  }

  /**
   * The bucket's index, with everything that the read must see, for use in this turn of the event loop. `known`: the stream as the call has
   * read it already. Throws `KvError`.
   */
  async current(
    place: Place,
    context: CallContext,
    consistency: Consistency = "strong",
    known?: StreamInfo,
  ): Promise<BucketIndex> {
    try {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        const { index, loading } = this.open(place);
        await this.within(context, loading);
        await this.within(context, consistency === "strong" ? index.confirmed() : undefined);
        if (consistency === "strong") await this.catchUp(place, index, context, known);
        while (!index.isOver && !index.sweep()) await nextTurn();
        if (!index.isOver) return index;
      }
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
    throw unavailable({ bucket: place.bucket });
  }

  /** The bucket's configuration was changed. */
  reconfigured(stream: string, info: StreamInfo): void {
    this.entries.get(stream)?.index.compare(checkedOf(info));
  }

  /** The bucket was deleted. */
  forget({ bucket, stream }: Place): void {
    this.drop(stream);
    this.different.delete(stream);
    this.options.written?.forget(bucket);
  }

  stats(): KeyIndexStats {
    let keys = 0;
    for (const { index } of this.entries.values()) keys += index.keys.size;
    const { entries, bytes, loads, waits } = this;
    return { buckets: entries.size, keys, bytes, loads, waits };
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.timer);
    for (const stream of [...this.entries.keys()]) this.drop(stream);
  }

  private async catchUp(
    place: Place,
    index: BucketIndex,
    context: CallContext,
    known: StreamInfo | undefined,
  ): Promise<void> {
    const { written, reader } = this.options;
    let newest = written?.newest(place.bucket);
    if (newest === undefined || known !== undefined) {
      const info =
        known ?? (await this.infos.get(place.stream, context, (shared) => reader.stream(place, shared)));
      index.compare(checkedOf(info));
      newest = Math.max(newest ?? 0, info.state.last_seq);
    }
    const applied = index.isOver ? undefined : index.appliedThrough(newest, context);
    if (applied === undefined) return;
    this.waits++;
    await withinContext(context, applied, this.options.requests).catch((error: unknown) => {
      if (!index.isOver) throw error;
    });
  }

  private async within(context: CallContext, promise: Promise<void> | undefined): Promise<void> {
    if (promise !== undefined) await withinContext(context, promise, this.options.requests);
  }

  private open(place: Place): Entry {
    const { stream } = place;
    let entry = this.entries.get(stream);
    if (entry === undefined) {
      const index = new BucketIndex({
        acceptsDifference: this.different.has(stream),
        onOver: (why) => {
          if (!index.isVerified) {
            this.different.add(stream);
            this.options.log?.warn({ bucket: place.bucket, why }, DIFFERENT_SENTENCE);
          }
          if (this.entries.get(stream)?.index === index) this.entries.delete(stream);
        },
      });
      const loading = this.load(place, index);
      const opened: Entry = { index, loading };
      loading.then(
        () => (opened.loading = undefined),
        () => {
          index.close();
          if (this.entries.get(stream) === opened) this.entries.delete(stream);
        },
      );
      entry = opened;
    }
    this.entries.delete(stream);
    this.entries.set(stream, entry);
    this.timer ??= setInterval(() => this.evict(), MEMORY_CHECK_MS).unref();
    return entry;
  }

  private async load(place: Place, index: BucketIndex): Promise<void> {
    const { requests } = this.options;
    const context = { deadlineMs: performance.now() + LOAD_TIMEOUT_MS, signal: NEVER_ABORTED };
    this.loads++;
    const following = await this.follow(place, index);
    if (index.isOver || this.isClosed) {
      following.stop();
      return;
    }
    const info = await existing(requests, place, context);
    const state = checkedOf(info);
    index.follow(following, state);
    if (state.created !== following.origin.created) throw bucketNotFound(place.bucket);
    const { messages, first_seq } = info.state;
    const isNewestOnly = info.config.max_msgs_per_subject === 1;
    const upTo = following.startsAfter;
    if (messages > 0 && upTo > 0) {
      const start = isNewestOnly ? { sequence: Math.max(1, first_seq) } : ("newest_of_each" as const);
      const range = { subjectPrefix: subjectPrefix(place.bucket), start, upTo, flow: index };
      await scanInParts(this.options, place, range, (head) => index.load(head), context);
    }
    await index.loaded();
    const after = await existing(requests, place, context);
    await index.appliedThrough(after.state.last_seq, context);
    index.compare(checkedOf(after));
    this.evict();
  }

  /** Retries for a short time: after an outage the feeds' connection may be back later than the others. */
  private async follow({ bucket }: Place, index: BucketIndex): Promise<Following> {
    const giveUpMs = performance.now() + FOLLOW_TIMEOUT_MS;
    for (;;) {
      try {
        return await this.options.feeds.follow(bucket, index);
      } catch (error) {
        const mayPass = error instanceof KvError && error.kind === "unavailable";
        if (!mayPass || this.isClosed || performance.now() >= giveUpMs) throw error;
        await delay(RETRY_MS);
      }
    }
  }

  private drop(stream: string): void {
    const entry = this.entries.get(stream);
    this.entries.delete(stream);
    entry?.index.close();
  }

  /** Drops the least recently used indexes until the others fit. The most recently used one always stays. */
  private evict(): void {
    this.bytes = 0;
    for (const { index } of this.entries.values()) this.bytes += index.memoryBytes;
    for (const [stream, { index }] of this.entries) {
      if (this.bytes <= this.bytesMax || this.entries.size === 1) return;
      this.bytes -= index.memoryBytes;
      this.drop(stream);
    }
  }
}

/** What an index is compared with. */
function checkedOf(info: StreamInfo): Checked {
  const { created, config, state } = info;
  return {
    created,
    subjects: state.num_subjects ?? 0,
    lastSequence: state.last_seq,
    ageMsMax: (config.max_age ?? 0) / NANOS_PER_MS,
    compactedTo: compactedTo(config),
    nowMs: serverTimeMs(info),
  };
}

/** What this process may use: the machine's memory, or what a container is allowed of it. */
function memoryBytes(): number {
  const allowed = process.constrainedMemory();
  return allowed > 0 ? Math.min(totalmem(), allowed) : totalmem();
}

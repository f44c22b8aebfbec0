/**
 * All watches of this process: one hub per watched bucket. `Store.watch` has the contract.
 *
 * A hub starts with the bucket's first watcher and ends soon after the last one. It then has no consumers on the server.
 */
import { invalidArgument } from "../../kv/errors.js";
import { parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { type BucketOwner, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { WatchOptions } from "../../kv/watch.js";
import { bucketNotFound } from "../client/errors.js";
import type { Link } from "../client/link.js";
import { storedMessageBytesMax } from "../client/message-reader.js";
import { Requests } from "../client/requests.js";
import { StreamApi } from "../read/stream-api.js";
import { canceled, shuttingDown, tooManyWatches } from "./endings.js";
import type { BucketFeeds } from "../feed/bucket-feed.js";
import { Semaphore } from "../feed/semaphore.js";
import { Hub, HubOutdated } from "./hub.js";
import type { HubStats } from "./hub-options.js";
import type { KeySnapshots } from "./key-snapshot.js";
import { ProgressTicker } from "./progress-ticker.js";
import { QueueMemory } from "./queue-memory.js";
import type { Watcher } from "./watcher.js";

export interface WatchHubsOptions {
  /** The connection for stored entries, which watches send before live changes. `close()` leaves it open. */
  readonly link: Link;
  /** The source of live changes. `close()` leaves them open. */
  readonly feeds: BucketFeeds;
  /** Whether streams may have replicas that lag behind. */
  readonly isClustered: boolean;
  readonly limits: Limits;
  /** The owner of the buckets. Default: users. */
  readonly owner?: BucketOwner | undefined;
  /** The memory of the queues, which other hubs may share. Default: one of its own, of `totalWatchQueueBytesMax`. */
  readonly queueMemory?: QueueMemory | undefined;
}

export interface WatchStats {
  readonly hubs: readonly HubStats[];
  /** Open watches. */
  readonly watchers: number;
  /** Watches that have ended because they were read too slowly. */
  readonly slowWatchers: number;
}

/** The most concurrent readers: each is a consumer on the server. */
const READERS_MAX = 32;
/** Attempts to start a watch while the bucket is deleted and recreated. */
const OPEN_ATTEMPTS_MAX = 3;

export class WatchHubs {
  private readonly hubs = new Map<string, Hub>();
  private readonly readerPermits = new Semaphore(READERS_MAX);
  private readonly ticker = new ProgressTicker<{ mark(): void }>((item) => item.mark());
  private readonly requests: Requests;
  private readonly queueMemory: QueueMemory;
  private keySnapshots: KeySnapshots | undefined;
  private isClosed = false;
  private watchers = 0;
  private slowWatchers = 0;
  /** Ended hubs that still have consumers on the server. */
  private readonly ending = new Set<Promise<void>>();

  constructor(private readonly options: WatchHubsOptions) {
    this.requests = new Requests(options.link);
    this.queueMemory = options.queueMemory ?? new QueueMemory(options.limits.totalWatchQueueBytesMax);
  }

  /** Where the keys of snapshots without values come from, from now on. Default: from the streams. */
  takeKeysFrom(keySnapshots: KeySnapshots): void {
    this.keySnapshots = keySnapshots;
  }

  /** See `Store.watch`. */
  async watch(bucket: string, options: WatchOptions, context: CallContext): Promise<Watcher> {
    const stream = streamName(bucket, this.options.owner);
    const filters = parseFilters(options.filters);
    if (typeof options.start === "object" && options.start.revision < 1n) {
      throw invalidArgument(
        `A watch can't start at revision ${options.start.revision.toString()}; the first revision is 1.`,
        { bucket },
      );
    }
    if (context.signal.aborted) throw canceled(bucket);
    if (this.watchers >= this.options.limits.watchesMax) throw tooManyWatches(bucket, this.watchers);
    this.watchers++;
    try {
      for (let attempt = 1; attempt <= OPEN_ATTEMPTS_MAX; attempt++) {
        if (this.isClosed) throw shuttingDown(bucket, undefined);
        try {
          const hub = this.hubs.get(bucket) ?? this.newHub(bucket, stream);
          return await hub.open(filters, options, context, () => this.watchers--);
        } catch (error) {
          if (!(error instanceof HubOutdated)) throw error;
        }
      }
      throw bucketNotFound(bucket);
    } catch (error) {
      this.watchers--;
      throw error;
    }
  }

  /** Ends the watches of a bucket that this process has deleted. */
  bucketDeleted(bucket: string): void {
    this.hubs.get(bucket)?.endAll(bucketNotFound(bucket));
  }

  stats(): WatchStats {
    return {
      hubs: [...this.hubs.values()].map((hub) => hub.stats()),
      watchers: this.watchers,
      slowWatchers: this.slowWatchers + sum([...this.hubs.values()].map((hub) => hub.slowWatchers)),
    };
  }

  /** Ends every watch with `shutting_down`. Resolves when no consumer is left on the server. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([...this.hubs.values()].map((hub) => hub.close()));
    await Promise.all(this.ending);
    this.ticker.stop();
    this.requests.close();
  }

  private newHub(bucket: string, stream: string): Hub {
    const { feeds, isClustered, limits } = this.options;
    const api = new StreamApi(this.requests, bucket, stream, storedMessageBytesMax(limits));
    const hub = new Hub({
      api,
      subjectPrefix: subjectPrefix(bucket, this.options.owner),
      feeds,
      isClustered,
      limits,
      queueMemory: this.queueMemory,
      readerPermits: this.readerPermits,
      keySnapshots: this.keySnapshots,
      ticker: this.ticker,
      onEnd: () => {
        if (this.hubs.get(bucket) === hub) this.hubs.delete(bucket);
        this.slowWatchers += hub.slowWatchers;
        const ended = hub.settled().finally(() => this.ending.delete(ended));
        this.ending.add(ended);
      },
    });
    this.hubs.set(bucket, hub);
    return hub;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

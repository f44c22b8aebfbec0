/**
 * Watches, all of this process: one hub per watched bucket. See the contract at `Store.watch`.
 *
 * A hub begins with the bucket's first watcher and ends soon after its last; then nothing of it is left on the server.
 */
import { invalidArgument } from "../../kv/errors.js";
import { parseFilters } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { type BucketOwner, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext, WatchOptions } from "../../kv/store.js";
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
import { ProgressTicker } from "./progress-ticker.js";
import type { Watcher } from "./watcher.js";

export interface WatchHubsOptions {
  /** What watches show first, before live changes, comes over this connection. Stays open when these are closed. */
  readonly link: Link;
  /** Where live changes come from. Stay open when these are closed. */
  readonly feeds: BucketFeeds;
  /** Whether streams may have several copies, which may lag behind each other. */
  readonly isClustered: boolean;
  readonly limits: Limits;
  /** Whose buckets these are. Default: users'. */
  readonly owner?: BucketOwner | undefined;
}

export interface WatchStats {
  readonly hubs: readonly HubStats[];
  /** Watches that are open. */
  readonly watchers: number;
  /** Watches that were ended since the start because they were not read fast enough. */
  readonly slowWatchers: number;
}

/** Readers at once: each is a consumer on the server, and a snapshot's work. */
const READERS_MAX = 32;
/** A bucket that is deleted and recreated while a watch is opened is retried this often. */
const OPEN_ATTEMPTS_MAX = 3;

export class WatchHubs {
  private readonly hubs = new Map<string, Hub>();
  private readonly readerPermits = new Semaphore(READERS_MAX);
  private readonly ticker = new ProgressTicker<{ mark(): void }>((item) => item.mark());
  private readonly requests: Requests;
  private isClosed = false;
  private watchers = 0;
  private slowWatchers = 0;
  /** Hubs that are over, until what they had on the server is gone. */
  private readonly ending = new Set<Promise<void>>();

  constructor(private readonly options: WatchHubsOptions) {
    this.requests = new Requests(options.link);
  }

  /** See `Store.watch`. */
  async watch(bucket: string, options: WatchOptions, context: CallContext): Promise<Watcher> {
    const stream = streamName(bucket, this.options.owner);
    const filters = parseFilters(options.filters);
    if (typeof options.start === "object" && options.start.revision < 1n) {
      throw invalidArgument("The revision to watch from is 1 or more.", { bucket });
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

  /** A bucket was deleted by this process: its watches end at once. */
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

  /** Ends every watch with `shutting_down`. Resolves when nothing is left on the server. */
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
      readerPermits: this.readerPermits,
      ticker: this.ticker,
      onOver: () => {
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

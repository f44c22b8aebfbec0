/** The feeds of one kind of buckets in this process: see `BucketFeeds`. */
import type { Limits } from "../../kv/limits.js";
import { type BucketOwner, streamName, subjectPrefix } from "../../kv/names.js";
import type { Link } from "../client/link.js";
import { storedMessageBytesMax } from "../client/message-reader.js";
import { Requests } from "../client/requests.js";
import { bucketNotFound } from "../client/errors.js";
import { StreamApi } from "../read/stream-api.js";
import type { BucketFeeds, FeedFollower, FeedLog, Following } from "./bucket-feed.js";
import type { ConfigureStream } from "./feed-source.js";
import { IdleWindows } from "./idle-windows.js";
import { LiveFeed } from "./live-feed.js";
import { reconnected } from "./republish-source.js";
import { Semaphore } from "./semaphore.js";

export interface FeedsOptions {
  /** For feeds only, as the server closes it where this process reads too slowly. Stays open when these are closed, as does `bulk`. */
  readonly link: Link;
  /** What is read from streams comes over this connection. */
  readonly bulk: Link;
  /** Whether streams may have several copies, which may lag behind each other. */
  readonly isClustered: boolean;
  readonly limits: Limits;
  readonly log: FeedLog;
  /** Whose buckets these are. Default: users'. */
  readonly owner?: BucketOwner | undefined;
  /** Configures streams to republish. Default: `configureWith`. */
  readonly configure?: ConfigureStream | undefined;
}

/** How long a feed without followers waits for another one. */
const LINGER_MS = 10_000;
/** Readers at once. */
const READERS_MAX = 16;
/** How often a feed is compared with its stream. On a cluster a leader may die before it published what it stored. */
const CHECK_EVERY_MS = 5_000;
const CLUSTER_CHECK_EVERY_MS = 1_000;
const CHECK_TICK_MS = 250;
const CHECKS_PER_TICK = 50;
/** A feed gets at most this part of the memory for recent changes. */
const SHARE_MIN = 8;
/** A bucket that is deleted and recreated while it is followed is tried again this often. */
const ATTEMPTS_MAX = 3;
/** The server says on this subject that a stream was deleted, changed, or has another leader. */
const ADVISORIES = "$JS.EVENT.ADVISORY.STREAM.*.*";

interface OpenFeed {
  readonly feed: LiveFeed;
  readonly started: Promise<void>;
  linger: NodeJS.Timeout | undefined;
}

export class Feeds implements BucketFeeds {
  private readonly open = new Map<string, OpenFeed>();
  private readonly byStream = new Map<string, LiveFeed>();
  /** The one that was compared longest ago comes first. */
  private readonly checkOrder = new Set<LiveFeed>();
  private readonly ending = new Set<Promise<void>>();
  private readonly readerPermits = new Semaphore(READERS_MAX);
  private readonly requests: Requests;
  private readonly idleWindows: IdleWindows;
  private readonly stopListening: (() => void)[];
  private readonly timer: NodeJS.Timeout;
  private configure: ConfigureStream | undefined;

  constructor(private readonly options: FeedsOptions) {
    const { link, bulk } = options;
    this.configure = options.configure;
    this.requests = new Requests(bulk);
    this.idleWindows = new IdleWindows(bulk.unread);
    const each = (call: (feed: LiveFeed) => void) => (): void => {
      for (const { feed } of this.open.values()) call(feed);
    };
    const advisories = link.subscribe(ADVISORIES, ({ subject }) => {
      const stream = subject.slice(subject.lastIndexOf(".") + 1);
      void this.byStream.get(stream)?.check();
    });
    this.stopListening = [
      link.onDisconnect(each((feed) => feed.interrupt())),
      link.onReconnect(each((feed) => feed.connectionBack())),
      bulk.onReconnect(each((feed) => feed.bulkConnectionBack())),
      () => {
        if (!link.connection.isClosed()) advisories.unsubscribe();
      },
    ];
    this.timer = setInterval(() => this.checkDue(), CHECK_TICK_MS).unref();
  }

  /** What configures streams to republish, from now on. */
  configureWith(configure: ConfigureStream): void {
    this.configure = configure;
  }

  async follow(bucket: string, follower: FeedFollower): Promise<Following> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const known = this.open.get(bucket);
      const { feed, started } = known ?? this.start(bucket);
      await started;
      // It may be of an earlier bucket of the name.
      if (known !== undefined) await feed.settle();
      if (feed.isOver) continue;
      return feed.follow(follower);
    }
    throw bucketNotFound(bucket);
  }

  /** Resolves when the connection is up, and every feed has what it missed. */
  async recovered(): Promise<void> {
    if (!this.options.link.isConnected) await reconnected(this.options.link);
    for (const { feed } of [...this.open.values()]) await feed.recovery;
  }

  /** Ends all feeds. Resolves when nothing is left on the server. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all([...this.open.values()].map(({ feed }) => feed.finish({ kind: "closed" })));
    await Promise.all(this.ending);
    for (const stop of this.stopListening) stop();
    this.requests.close();
  }

  private start(bucket: string): OpenFeed {
    const { link, isClustered, limits, log, owner } = this.options;
    const stream = streamName(bucket, owner);
    const feed = new LiveFeed({
      api: new StreamApi(this.requests, bucket, stream, storedMessageBytesMax(limits)),
      ...{ link, isClustered, log, readerPermits: this.readerPermits, idleWindows: this.idleWindows },
      subjectPrefix: subjectPrefix(bucket, owner),
      configure: this.configure,
      recentBytesMax: () => limits.recentChangesBytesMax / Math.max(SHARE_MIN, this.open.size),
      onIdle: () => this.linger(opened),
      onOver: () => this.over(bucket, opened),
    });
    const opened: OpenFeed = { feed, started: feed.start(), linger: undefined };
    opened.started.then(
      () => this.linger(opened),
      () => undefined,
    );
    this.open.set(bucket, opened);
    this.byStream.set(stream, feed);
    this.checkOrder.add(feed);
    for (const { feed: other } of this.open.values()) other.recent.trim();
    return opened;
  }

  private linger(opened: OpenFeed): void {
    clearTimeout(opened.linger);
    opened.linger = setTimeout(() => {
      if (!opened.feed.isFollowed) void opened.feed.finish({ kind: "closed" });
    }, LINGER_MS).unref();
  }

  private over(bucket: string, opened: OpenFeed): void {
    const { feed } = opened;
    clearTimeout(opened.linger);
    if (this.open.get(bucket) === opened) this.open.delete(bucket);
    const stream = streamName(bucket, this.options.owner);
    if (this.byStream.get(stream) === feed) this.byStream.delete(stream);
    this.checkOrder.delete(feed);
    const settled = feed.finish({ kind: "closed" }).finally(() => this.ending.delete(settled));
    this.ending.add(settled);
  }

  private checkDue(): void {
    const everyMs = this.options.isClustered ? CLUSTER_CHECK_EVERY_MS : CHECK_EVERY_MS;
    const dueMs = performance.now() - everyMs;
    let left = CHECKS_PER_TICK;
    for (const feed of this.checkOrder) {
      if (feed.lastCheckMs > dueMs || left-- === 0) return;
      this.checkOrder.delete(feed);
      this.checkOrder.add(feed);
      void feed.check();
    }
  }
}

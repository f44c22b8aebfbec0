/** The store on NATS JetStream: assembles its parts. */
import type { Limits } from "../kv/limits.js";
import { streamName } from "../kv/names.js";
import type { CallContext } from "../kv/call-context.js";
import type { Durability } from "../kv/bucket.js";
import type { Store } from "../kv/store.js";
import type { Watch, WatchOptions } from "../kv/watch.js";
import { BucketConfigCache } from "./streams/bucket-config-cache.js";
import { BucketQuota } from "./write/bucket-quota.js";
import { Buckets } from "./buckets/buckets.js";
import { ByteLimits } from "./buckets/byte-limits.js";
import { Compaction } from "./buckets/compaction.js";
import { type DiskRoom, UNKNOWN_DISK } from "./embedded/disk-guard.js";
import { Entries } from "./read/entries.js";
import { EntryWrites } from "./write/entry-writes.js";
import { toKvError } from "./client/errors.js";
import { Expiry } from "./streams/expiry.js";
import { History } from "./read/history.js";
import { Incarnations } from "./write/incarnations.js";
import { Imports } from "./write/imports.js";
import { askJetStream } from "./client/jetstream-api.js";
import type { Link } from "./client/link.js";
import type { Log } from "./client/log.js";
import type { Feeds } from "./feed/feeds.js";
import { BatchGet } from "./index/batch-get.js";
import { BucketIndexes } from "./index/bucket-indexes.js";
import { KeyLists } from "./index/key-lists.js";
import { ReadMemory } from "./read/read-memory.js";
import { Scans } from "./index/scans.js";
import { PastStates } from "./index/past-states.js";
import { WrittenRevisions } from "./index/written-revisions.js";
import { MessageReader, type Place, storedMessageBytesMax } from "./client/message-reader.js";
import { ValueReader } from "./read/value-reader.js";
import { ReadCache } from "./read/read-cache.js";
import { Requests } from "./client/requests.js";
import { RestartCheck } from "./buckets/restart-check.js";
import { checkedStore } from "./checked-store.js";
import { Survivors } from "./buckets/survivors.js";
import { storeSizes } from "./streams/store-sizes.js";
import { withEntryTtl } from "./streams/stream-config.js";
import { GroupCommit } from "./write/group-commit.js";
import { CommitConditions } from "./write/commit-conditions.js";
import { Commits } from "./write/commits.js";
import type { BatchStaging } from "./embedded/batch-staging.js";
import { batchIds } from "./write/publication.js";
import { KeyDeletions } from "./write/key-deletions.js";
import { Writer } from "./write/writer.js";
import { KeySnapshots } from "./watch/key-snapshot.js";

/** Runs the watches; implemented by `WatchHubs` in watch/hubs.ts. */
export interface Watches {
  watch(bucket: string, options: WatchOptions, context: CallContext): Promise<Watch>;
  /** Where the keys of snapshots without values come from. Default: from the streams. */
  takeKeysFrom?(keySnapshots: KeySnapshots): void;
  /** Ends the bucket's watches with `bucket_not_found`. */
  bucketDeleted(bucket: string): void;
  /** Ends every watch with `shutting_down`. */
  close(): Promise<void>;
}

export interface JetStreamStoreOptions {
  /** The connection for calls with small replies. The caller owns and closes it, and `bulk`. */
  readonly link: Link;
  /**
   * The connection for histories, key lists and compaction, so that calls do not wait behind their large replies. If the byte budget of
   * `link` is used up, reads of single keys also use it, as long as a quarter of its own budget stays free.
   */
  readonly bulk: Link;
  /** Whether the server is part of a cluster, where only a stream's leader has every write. */
  readonly isClustered: boolean;
  /** Whether this store is the only writer, which allows a read cache. Default: false. */
  readonly isExclusive?: boolean;
  /** The space on the storage's disk. Default: not known. */
  readonly disk?: DiskRoom | undefined;
  /** A folder for copies of the key indexes, which only an exclusive store uses. Default: none are written. */
  readonly indexFolder?: string | undefined;
  readonly limits: Limits;
  readonly watches: Watches;
  /** The feeds of live changes, for which the store configures buckets. */
  readonly feeds: Feeds;
  /** The number of replicas of a new bucket. Default: 1. */
  readonly replicas?: number | undefined;
  /** The durability of acknowledged writes on the connected server. Default: unknown. */
  readonly durability?: (() => Durability) | undefined;
  /** Stages batches of writes in memory. Default: the server stages them itself. */
  readonly staging?: BatchStaging | undefined;
  /** Whether writes that wait leave as one atomic batch. Default: true. */
  readonly groupCommit?: boolean | undefined;
  /** The largest message that the server accepts, including headers. */
  readonly maxPayloadBytes: number;
  /** Default: nothing is logged. */
  readonly log?: Log | undefined;
}

/** Creates a store on connections where JetStream responds. Close it before the connections. */
export function createJetStreamStore(options: JetStreamStoreOptions): Store {
  const { link, bulk, isClustered, limits, watches, maxPayloadBytes, disk = UNKNOWN_DISK } = options;
  const requests = new Requests(link);
  const bulkRequests = new Requests(bulk);
  const messageBytesMax = storedMessageBytesMax(limits);
  const reader = new MessageReader(requests, isClustered, messageBytesMax, bulkRequests);
  const bulkReader = new MessageReader(bulkRequests, isClustered, messageBytesMax);
  const isAlone = options.isExclusive === true && !isClustered;
  const isCached = isAlone && limits.readCacheBytesMax > 0;
  const cache = isCached ? new ReadCache(requests, limits.readCacheBytesMax) : undefined;
  const durability = options.durability ?? ((): Durability => "unknown");
  const batchId = batchIds();
  const allowBatches = (place: Place, context: CallContext): Promise<unknown> =>
    buckets.edit(place, ({ config }) => ({ ...config, allow_atomic: true }), context);
  const groupCommit =
    options.groupCommit === false
      ? undefined
      : new GroupCommit({
          ...{ requests, batchId, allowBatches, staging: options.staging },
          isSynced: () => durability() !== "relaxed",
        });
  const writer = new Writer(requests, reader, isClustered, disk, cache, groupCommit, batchId);
  const facts = new BucketConfigCache(requests);
  const written = isAlone ? new WrittenRevisions() : undefined;
  const indexes = new BucketIndexes({
    ...{ feeds: options.feeds, requests: bulkRequests, reader: bulkReader, limits, written },
    storedMessageBytesMax: messageBytesMax,
    log: options.log,
    checkpointFolder: isAlone ? options.indexFolder : undefined,
    disk,
  });
  const pages = new ReadMemory(limits.totalPageBytesMax);
  const lists = new KeyLists(indexes, limits, pages);
  const expiry = new Expiry(facts);
  const incarnations = new Incarnations(facts, reader);
  const history = new History(bulkRequests, bulkReader, isClustered, expiry, limits, pages);
  const values = new ValueReader({
    ...{ requests, bulk: bulkRequests, reader: bulkReader, storedMessageBytesMax: messageBytesMax },
  });
  watches.takeKeysFrom?.(new KeySnapshots(indexes, values));
  const past = new PastStates(history, bulkRequests, messageBytesMax);
  const scans = new Scans(indexes, values, limits);
  const batches = new BatchGet({ indexes, reader, values, past, limits, memory: pages });
  const survivors = new Survivors(bulkRequests, bulkReader, limits, options.replicas ?? 1);
  const restartCheck = new RestartCheck({
    requests: bulkRequests,
    others: [requests],
    ...{ reader: bulkReader, survivors, messageBytesMax, log: options.log },
  });
  const buckets = new Buckets({
    reader,
    requests,
    lists,
    indexes,
    facts,
    cache,
    isExclusive: options.isExclusive === true,
    ...{ disk, survivors, restartCheck, limits },
    replicas: options.replicas ?? 1,
    durability,
  });
  options.feeds.configureWith((place, edit, context) => buckets.edit(place, edit, context));
  const entries = new Entries({ reader, expiry, cache });
  const edit = buckets.edit.bind(buckets);
  const byteLimits = new ByteLimits({ requests: bulkRequests, limits, edit });
  const compaction = new Compaction({
    ...{ requests: bulkRequests, reader: bulkReader, limits, log: options.log, edit, byteLimits, survivors },
  });
  compaction.start();
  const quota = new BucketQuota({ requests, reader, facts, compaction, byteLimits });
  const allowTtl = async (place: Place, context: CallContext): Promise<void> => {
    await buckets.edit(place, ({ config }) => withEntryTtl(config), context);
    facts.forget(place.stream);
  };
  const writes = new EntryWrites({
    ...{ requests, reader, writer, facts, expiry, quota, incarnations, cache, limits, maxPayloadBytes, disk },
    allowTtl,
  });
  const conditions = new CommitConditions({ requests: bulkRequests, reader, expiry, cache, limits });
  const commits = new Commits({
    ...{ requests, reader, writer, steps: writes.steps, conditions, facts, quota, limits, maxPayloadBytes },
    allowBatches,
  });
  const deletions = new KeyDeletions({
    ...{ indexes, incarnations, limits },
    deleteKey: (bucket, key, remove, context) => store.delete(bucket, key, remove, context),
  });
  const imports = new Imports({
    ...{ requests, isClustered, facts, quota, cache, limits, maxPayloadBytes, disk, allowTtl },
  });
  const itself = (revision: bigint): bigint => revision;
  /** Notes the revision that a caller is told. */
  const told = async <Result>(
    bucket: string,
    call: () => Promise<Result>,
    revisionOf: (result: Result) => bigint,
  ): Promise<Result> => {
    const before = written?.begin(bucket);
    const result = await call();
    written?.note(bucket, before, revisionOf(result));
    return result;
  };
  const store: Store = {
    createBucket: (config, context, createdBy) => buckets.create(config, context, createdBy),
    getBucket: (bucket, context, counts) => buckets.get(bucket, context, counts),
    listBuckets: (page, context, shows, counts) => buckets.list(page, context, shows, counts),
    bucketNames: (context) => buckets.names(context),
    bucketCreatedAtMs: (bucket, context, freshness) =>
      incarnations.createdAtMs({ bucket, stream: streamName(bucket) }, context, freshness),
    updateBucket: (bucket, change, context) => buckets.update(bucket, change, context),
    async deleteBucket(bucket, context) {
      await buckets.delete(bucket, context);
      watches.bucketDeleted(bucket);
    },
    compactBucket: (bucket, context) => compaction.compact(bucket, context),
    compactedTombstones: () => compaction.removed,
    keyIndexes: () => indexes.stats(),
    scanMemory: () => ({ reserved: scans.memory.reserved, peak: scans.memory.peak }),
    pageMemory: () => ({ reserved: pages.reserved, peak: pages.peak }),
    groupCommits: () => groupCommit?.stats,
    get: (bucket, key, revision, context, consistency) =>
      told(
        bucket,
        () => entries.get(bucket, key, revision, context, consistency),
        (entry) => entry.revision,
      ),
    batchGet: (bucket, keys, revision, context, consistency) =>
      told(
        bucket,
        () => batches.get(bucket, keys, revision, context, consistency),
        (batch) => batch.revision,
      ),
    scan: (bucket, scan, context, consistency) => scans.start(bucket, scan, context, consistency),
    put: (bucket, key, value, put, context) =>
      told(bucket, () => writes.put(bucket, key, value, put, context), itself),
    touch: (bucket, key, touch, context) =>
      told(bucket, () => writes.touch(bucket, key, touch, context), itself),
    delete: (bucket, key, remove, context) =>
      told(bucket, () => writes.delete(bucket, key, remove, context), itself),
    deleteKeys: (bucket, deletion, context) => deletions.run(bucket, deletion, context),
    commit: (bucket, operations, commit, context) =>
      told(
        bucket,
        () => commits.commit(bucket, operations, commit, context),
        ({ revision }) => revision,
      ),
    listKeys: (bucket, filters, page, context, consistency) =>
      lists.page(bucket, filters, page, context, consistency),
    history: (bucket, key, page, context, consistency) =>
      history.page(bucket, key, page, context, consistency),
    watch: (bucket, watch, context) => watches.watch(bucket, watch, context),
    importEntries: (bucket, afterRevision, imported, context) =>
      told(
        bucket,
        () => imports.write(bucket, afterRevision, imported, context),
        ({ revision }) => revision,
      ),
    sizes: (context) => storeSizes(requests, context),
    async ping(context) {
      try {
        // Check both connections: lists, counts and histories use the second one, which may reconnect later.
        await Promise.all([
          askJetStream(requests, "INFO", undefined, context),
          askJetStream(bulkRequests, "INFO", undefined, context),
        ]);
      } catch (error) {
        throw toKvError(error, {});
      }
    },
    async close() {
      compaction.stop();
      await indexes.close();
      await watches.close();
      requests.close();
      bulkRequests.close();
    },
  };
  return checkedStore(store, restartCheck);
}

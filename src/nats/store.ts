/** The store on NATS JetStream: puts the parts together. */
import type { Limits } from "../kv/limits.js";
import { streamName } from "../kv/names.js";
import type { CallScope, Durability, Store, Watch, WatchOptions } from "../kv/store.js";
import { BucketFactsCache } from "./streams/bucket-config-cache.js";
import { BucketQuota } from "./write/bucket-quota.js";
import { Buckets } from "./buckets/buckets.js";
import { ByteLimits } from "./buckets/byte-limits.js";
import { Compaction } from "./buckets/compaction.js";
import { type DiskRoom, UNSEEN_DISK } from "./embedded/disk-guard.js";
import { Entries } from "./read/entries.js";
import { EntryWrites } from "./write/entry-writes.js";
import { toKvError } from "./client/errors.js";
import { Expiry } from "./streams/expiry.js";
import { History } from "./read/history.js";
import { Incarnations } from "./write/incarnations.js";
import { Imports } from "./write/imports.js";
import { askJetStream } from "./client/jetstream-api.js";
import type { Link } from "./client/link.js";
import { LiveKeys } from "./read/live-keys.js";
import type { Log } from "./client/log.js";
import type { Feeds } from "./feed/feeds.js";
import { MessageReader, storedMessageBytesMax } from "./client/message-reader.js";
import { ReadCache } from "./read/read-cache.js";
import { Requests } from "./client/requests.js";
import { storeSizes } from "./streams/store-sizes.js";
import { Writer } from "./write/writer.js";

/** What runs the watches: `WatchHubs` of watch/hubs.ts. */
export interface Watches {
  watch(bucket: string, options: WatchOptions, scope: CallScope): Promise<Watch>;
  /** Ends the bucket's watches with `bucket_not_found`. */
  bucketDeleted(bucket: string): void;
  /** Ends every watch with `shutting_down`. */
  close(): Promise<void>;
}

export interface JetStreamStoreOptions {
  /** For calls with small answers. Stays open when the store is closed: it belongs to who made it, as does `bulk`. */
  readonly link: Link;
  /**
   * For histories, lists of keys and compaction, so that calls do not wait behind their answers. Where the budget of `link` is used up, it
   * takes reads of single keys too while a quarter of its own stays free.
   */
  readonly bulk: Link;
  /** Whether the server is part of a cluster: then only a stream's leader has seen every write. */
  readonly isClustered: boolean;
  /** Whether nobody but this store writes to the server: reads may then be answered from memory. Default: false. */
  readonly isExclusive?: boolean;
  /** The room on the storage's disk. Default: it can't be seen. */
  readonly disk?: DiskRoom | undefined;
  readonly limits: Limits;
  readonly watches: Watches;
  /** Where changes come from. The store configures buckets for them. Default: it has none. */
  readonly feeds?: Feeds | undefined;
  /** Copies that the storage keeps of a new bucket. Default: 1. */
  readonly replicas?: number | undefined;
  /** What the connected server promises of acknowledged writes. Default: unknown. */
  readonly durability?: (() => Durability) | undefined;
  /** The largest message that the server takes, headers included. */
  readonly maxPayloadBytes: number;
  /** Default: nothing is logged. */
  readonly log?: Log | undefined;
}

/** Makes a store on a connection where JetStream answers. Close it before the connection. */
export function createJetStreamStore(options: JetStreamStoreOptions): Store {
  const { link, bulk, isClustered, limits, watches, maxPayloadBytes, disk = UNSEEN_DISK } = options;
  const requests = new Requests(link);
  const bulkRequests = new Requests(bulk);
  const messageBytesMax = storedMessageBytesMax(limits);
  const reader = new MessageReader(requests, isClustered, messageBytesMax, bulkRequests);
  const bulkReader = new MessageReader(bulkRequests, isClustered, messageBytesMax);
  const isCached = options.isExclusive === true && !isClustered && limits.readCacheBytesMax > 0;
  const cache = isCached ? new ReadCache(requests, limits.readCacheBytesMax) : undefined;
  const writer = new Writer(requests, reader, isClustered, disk, cache);
  const facts = new BucketFactsCache(requests);
  const liveKeys = new LiveKeys({
    ...{ requests: bulkRequests, reader: bulkReader, limits },
    storedMessageBytesMax: messageBytesMax,
  });
  const expiry = new Expiry(facts);
  const incarnations = new Incarnations(facts, reader);
  const history = new History(bulkRequests, bulkReader, isClustered, expiry, limits);
  const buckets = new Buckets({
    reader,
    requests,
    liveKeys,
    facts,
    cache,
    isExclusive: options.isExclusive === true,
    disk,
    limits,
    replicas: options.replicas ?? 1,
    durability: options.durability ?? (() => "unknown"),
  });
  options.feeds?.configureWith((place, edit, scope) => buckets.edit(place, edit, scope));
  const entries = new Entries({ reader, expiry, cache });
  const edit = buckets.edit.bind(buckets);
  const byteLimits = new ByteLimits({ requests: bulkRequests, limits, edit });
  const compaction = new Compaction({
    ...{ requests: bulkRequests, reader: bulkReader, limits, log: options.log, edit, byteLimits },
  });
  compaction.start();
  const quota = new BucketQuota({ requests, reader, facts, compaction, byteLimits });
  const writes = new EntryWrites({
    ...{ requests, reader, writer, facts, expiry, quota, incarnations, cache, limits, maxPayloadBytes, disk },
  });
  const imports = new Imports({
    ...{ requests, isClustered, facts, quota, cache, limits, maxPayloadBytes, disk },
  });
  return {
    createBucket: (config, scope, createdBy) => buckets.create(config, scope, createdBy),
    getBucket: (bucket, scope) => buckets.get(bucket, scope),
    listBuckets: (page, scope, shows) => buckets.list(page, scope, shows),
    bucketCreatedAtMs: (bucket, scope, freshness) =>
      incarnations.createdAtMs({ bucket, stream: streamName(bucket) }, scope, freshness),
    updateBucket: (bucket, change, scope) => buckets.update(bucket, change, scope),
    async deleteBucket(bucket, scope) {
      await buckets.delete(bucket, scope);
      watches.bucketDeleted(bucket);
    },
    compactBucket: (bucket, scope) => compaction.compact(bucket, scope),
    compactedTombstones: () => compaction.removed,
    get: (bucket, key, revision, scope, consistency) =>
      entries.get(bucket, key, revision, scope, consistency),
    put: (bucket, key, value, put, scope) => writes.put(bucket, key, value, put, scope),
    delete: (bucket, key, remove, scope) => writes.delete(bucket, key, remove, scope),
    listKeys: (bucket, filters, page, scope, consistency) =>
      liveKeys.list(bucket, filters, page, scope, consistency),
    history: (bucket, key, page, scope, consistency) => history.page(bucket, key, page, scope, consistency),
    watch: (bucket, watch, scope) => watches.watch(bucket, watch, scope),
    importEntries: (bucket, afterRevision, imported, scope) =>
      imports.write(bucket, afterRevision, imported, scope),
    sizes: (scope) => storeSizes(requests, scope),
    async ping(scope) {
      try {
        // Lists, counts and histories use the second connection, which may be back later than the first.
        await Promise.all([
          askJetStream(requests, "INFO", undefined, scope),
          askJetStream(bulkRequests, "INFO", undefined, scope),
        ]);
      } catch (error) {
        throw toKvError(error, {});
      }
    },
    async close() {
      compaction.stop();
      await watches.close();
      requests.close();
      bulkRequests.close();
    },
  };
}

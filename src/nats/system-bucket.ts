/** Buckets of the service's own: stored as users' are, under names that no client can reach. */
import { KvError, type KvErrorKind } from "../kv/errors.js";
import { DEFAULT_LIMITS } from "../kv/limits.js";
import type { BucketConfig, CallScope, SystemBucket } from "../kv/store.js";
import { BucketFactsCache } from "./streams/bucket-config-cache.js";
import { BucketQuota } from "./write/bucket-quota.js";
import { type DiskRoom, UNSEEN_DISK } from "./embedded/disk-guard.js";
import { Entries } from "./read/entries.js";
import { BucketUpdate } from "./buckets/bucket-update.js";
import type { FeedLog } from "./feed/bucket-feed.js";
import { Feeds } from "./feed/feeds.js";
import { EntryWrites } from "./write/entry-writes.js";
import { Expiry } from "./streams/expiry.js";
import { toKvError } from "./client/errors.js";
import { askJetStream, streamInfo } from "./client/jetstream-api.js";
import type { Link } from "./client/link.js";
import { MessageReader, storedMessageBytesMax } from "./client/message-reader.js";
import { Requests } from "./client/requests.js";
import { streamConfigOf } from "./streams/stream-config.js";
import { WatchHubs } from "./watch/hubs.js";
import { Writer } from "./write/writer.js";

const OWNER = "SYS_";

export interface SystemBucketsOptions {
  /** Stays open when these are closed, as does `feed`. */
  readonly link: Link;
  /** See `Storage.feed`. */
  readonly feed: Link;
  readonly isClustered: boolean;
  /** Copies that the storage keeps. */
  readonly replicas: number;
  readonly maxPayloadBytes: number;
  /** The room on the storage's disk. Default: it can't be seen. */
  readonly disk?: DiskRoom | undefined;
  readonly log: FeedLog;
}

export interface SystemBuckets {
  /** A bucket by its name and the configuration to make it with. Sends nothing. */
  bucket(config: BucketConfig): SystemBucket;
  /** Ends their watches with `shutting_down`. */
  close(): Promise<void>;
}

/** The service's own buckets on a connection where JetStream answers. */
export function createSystemBuckets(options: SystemBucketsOptions): SystemBuckets {
  const { link, isClustered, replicas, maxPayloadBytes, disk = UNSEEN_DISK, log } = options;
  // Not those that are set: they are for users.
  const limits = DEFAULT_LIMITS;
  const requests = new Requests(link);
  const reader = new MessageReader(requests, isClustered, storedMessageBytesMax(limits));
  const writer = new Writer(requests, reader, isClustered, disk);
  const facts = new BucketFactsCache(requests);
  const expiry = new Expiry(facts);
  const entries = new Entries({ reader, expiry, owner: OWNER });
  const quota = new BucketQuota({ requests, reader, facts });
  const writes = new EntryWrites({
    ...{ requests, reader, writer, facts, expiry, quota, limits, maxPayloadBytes, disk },
    owner: OWNER,
  });
  const feeds = new Feeds({
    ...{ link: options.feed, bulk: link, isClustered, limits, log, owner: OWNER },
    // Needs no lease: nothing else changes their configuration.
    configure: (place, edit, scope) =>
      new BucketUpdate({ requests, reader }, place, edit, undefined).run(scope),
  });
  const watches = new WatchHubs({ link, feeds, isClustered, limits, owner: OWNER });

  const ensure = async (config: BucketConfig, scope: CallScope): Promise<void> => {
    const stream = streamConfigOf(config, limits, replicas, { owner: OWNER });
    const kindOf = (error: unknown): KvErrorKind => toKvError(error, {}).kind;
    try {
      await streamInfo(requests, stream.name, scope);
    } catch (missing) {
      if (kindOf(missing) !== "bucket_not_found") throw toKvError(missing, {});
      await askJetStream(requests, `STREAM.CREATE.${stream.name}`, stream, scope).catch((error: unknown) => {
        // Another copy of the service was faster.
        if (kindOf(error) !== "bucket_exists") throw toKvError(error, {});
      });
    }
  };

  return {
    bucket: (config) => ({
      ensure: (scope) => ensure(config, scope),
      get: (key, scope) => entries.get(config.name, key, 0n, scope).catch(hidePlace),
      put: (key, value, condition, scope) =>
        writes.put(config.name, key, value, { condition }, scope).catch(hidePlace),
      async remove(key, condition, scope) {
        const options = { condition, purge: true };
        const revision = await writes.delete(config.name, key, options, scope).catch(hidePlace);
        if (revision === 0n && condition !== "always")
          throw new KvError("revision_mismatch", "The key is gone.");
        return revision;
      },
      watch: (scope) => watches.watch(config.name, { filters: [], start: "snapshot" }, scope),
    }),
    async close() {
      await watches.close();
      await feeds.close();
      requests.close();
    },
  };
}

/** Failures that say nothing of where they happened, or that the service's own code acts on. */
const PLACELESS: ReadonlySet<KvErrorKind> = new Set<KvErrorKind>([
  "unavailable",
  "deadline_exceeded",
  "canceled",
  "outcome_unknown",
  "storage_exhausted",
]);
const ACTED_ON: ReadonlySet<KvErrorKind> = new Set<KvErrorKind>([
  "bucket_not_found",
  "key_not_found",
  "key_exists",
  "revision_mismatch",
]);

/** Users are not told of the service's own buckets: what is neither expected nor passing is a fault. */
function hidePlace(cause: unknown): never {
  const kind = cause instanceof KvError ? cause.kind : "internal";
  if (PLACELESS.has(kind)) throw new KvError(kind, (cause as KvError).message, { cause });
  throw ACTED_ON.has(kind)
    ? cause
    : new KvError("internal", "A bucket of the service's own failed.", { cause });
}

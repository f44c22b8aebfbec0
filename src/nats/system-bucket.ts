/** The buckets of the service itself. They are stored like users' buckets, under names that clients can't address. */
import { KvError, type KvErrorKind } from "../kv/errors.js";
import { DEFAULT_LIMITS } from "../kv/limits.js";
import type { BucketConfig } from "../kv/bucket.js";
import type { CallContext } from "../kv/call-context.js";
import type { BucketFamily, SystemBucket } from "../kv/store.js";
import { streamName } from "../kv/names.js";
import { SerialQueue } from "../kv/serial-queue.js";
import { BucketConfigCache } from "./streams/bucket-config-cache.js";
import { BucketQuota } from "./write/bucket-quota.js";
import { type DiskRoom, UNKNOWN_DISK } from "./embedded/disk-guard.js";
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
import { streamsOf } from "./streams/stream-pages.js";
import { WatchHubs } from "./watch/hubs.js";
import type { QueueMemory } from "./watch/queue-memory.js";
import { Writer } from "./write/writer.js";

const OWNER = "SYS_";

export interface SystemBucketsOptions {
  /** The caller owns and closes it, and `feed`. */
  readonly link: Link;
  /** See `Storage.feed`. */
  readonly feed: Link;
  readonly isClustered: boolean;
  /** The number of replicas of each bucket. */
  readonly replicas: number;
  readonly maxPayloadBytes: number;
  /** The space on the storage's disk. Default: not known. */
  readonly disk?: DiskRoom | undefined;
  /** See `WatchHubsOptions`. */
  readonly queueMemory?: QueueMemory | undefined;
  readonly log: FeedLog;
}

export interface SystemBuckets {
  /** A handle for a bucket, with the configuration to create it with. Sends nothing. `family`: limits the number of such buckets. */
  bucket(config: BucketConfig, family?: BucketFamily): SystemBucket;
  /** Ends all watches with `shutting_down`. */
  close(): Promise<void>;
}

/** Creates the system buckets on a connection where JetStream responds. */
export function createSystemBuckets(options: SystemBucketsOptions): SystemBuckets {
  const { link, isClustered, replicas, maxPayloadBytes, disk = UNKNOWN_DISK, log } = options;
  // The defaults: the configured limits apply to users' buckets.
  const limits = DEFAULT_LIMITS;
  const requests = new Requests(link);
  const reader = new MessageReader(requests, isClustered, storedMessageBytesMax(limits));
  const writer = new Writer(requests, reader, isClustered, disk);
  const facts = new BucketConfigCache(requests);
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
    configure: (place, edit, context) =>
      new BucketUpdate({ requests, reader }, place, edit, undefined).run(context),
  });
  const watches = new WatchHubs({
    ...{ link, feeds, isClustered, limits, owner: OWNER, queueMemory: options.queueMemory },
  });

  const kindOf = (error: unknown): KvErrorKind => toKvError(error, {}).kind;
  const checkRoom = async (
    { prefix, bucketsMax, sentence }: BucketFamily,
    context: CallContext,
  ): Promise<void> => {
    let count = 0;
    for await (const name of streamsOf(requests, "STREAM.NAMES", context))
      if (name.startsWith(streamName(prefix, OWNER))) count++;
    if (count >= bucketsMax) throw new KvError("storage_exhausted", sentence(count));
  };
  const exists = async (stream: string, context: CallContext): Promise<boolean> => {
    try {
      await streamInfo(requests, stream, context);
      return true;
    } catch (error) {
      if (kindOf(error) !== "bucket_not_found") throw toKvError(error, {});
      return false;
    }
  };
  const creations = new SerialQueue();
  const ensure = async (
    config: BucketConfig,
    family: BucketFamily | undefined,
    context: CallContext,
  ): Promise<void> => {
    const stream = streamConfigOf(config, limits, replicas, { owner: OWNER });
    if (await exists(stream.name, context)) return;
    // Buckets that are created at once must not exceed the limit.
    await creations.run(family?.prefix ?? stream.name, async () => {
      if (family !== undefined && !(await exists(stream.name, context))) await checkRoom(family, context);
      await askJetStream(requests, `STREAM.CREATE.${stream.name}`, stream, context).catch(
        (error: unknown) => {
          // Another instance of the service has created it.
          if (kindOf(error) !== "bucket_exists") throw toKvError(error, {});
        },
      );
    });
  };

  return {
    bucket: (config, family) => ({
      ensure: (context) => ensure(config, family, context),
      get: (key, context) => entries.get(config.name, key, 0n, context).catch(hideBucket),
      put: (key, value, condition, context) =>
        writes.put(config.name, key, value, { condition }, context).catch(hideBucket),
      async remove(key, condition, context) {
        const options = { condition, purge: true };
        const revision = await writes.delete(config.name, key, options, context).catch(hideBucket);
        if (revision === 0n && condition !== "always")
          throw new KvError("revision_mismatch", "The key does not exist any more.");
        return revision;
      },
      watch: (context, options) =>
        watches.watch(config.name, { filters: [], start: "snapshot", ...options }, context),
    }),
    async close() {
      await watches.close();
      await feeds.close();
      requests.close();
    },
  };
}

/** Kinds of errors whose messages do not name a bucket or key. */
const NEUTRAL_KINDS: ReadonlySet<KvErrorKind> = new Set<KvErrorKind>([
  "unavailable",
  "deadline_exceeded",
  "canceled",
  "outcome_unknown",
  "storage_exhausted",
]);
/** Kinds of errors that the service handles itself. */
const HANDLED_KINDS: ReadonlySet<KvErrorKind> = new Set<KvErrorKind>([
  "bucket_not_found",
  "key_not_found",
  "key_exists",
  "revision_mismatch",
]);

/** Hides system buckets from clients: an error that is not handled and could name one becomes an internal error. */
function hideBucket(cause: unknown): never {
  const kind = cause instanceof KvError ? cause.kind : "internal";
  if (NEUTRAL_KINDS.has(kind)) throw new KvError(kind, (cause as KvError).message, { cause });
  throw HANDLED_KINDS.has(kind) ? cause : new KvError("internal", "A system bucket failed.", { cause });
}

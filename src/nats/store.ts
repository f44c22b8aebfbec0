/** The store on NATS JetStream: puts the parts together. */
import type { NatsConnection } from "@nats-io/transport-node";
import type { Limits } from "../kv/limits.js";
import type { CallScope, Store, Watch, WatchOptions } from "../kv/store.js";
import { BucketFactsCache } from "./bucket-facts.js";
import { Buckets } from "./buckets.js";
import { Entries } from "./entries.js";
import { toKvError } from "./errors.js";
import { History } from "./history.js";
import { askJetStream } from "./jetstream-api.js";
import { LiveKeys } from "./live-keys.js";
import type { Log } from "./log.js";
import { MessageReader } from "./newest.js";
import { Requests } from "./requests.js";
import { Writer } from "./writes.js";

/** What runs the watches: `WatchHubs` of watch-hub.ts. */
export interface Watches {
  watch(bucket: string, options: WatchOptions, scope: CallScope): Promise<Watch>;
  /** Ends the bucket's watches with `bucket_not_found`. */
  bucketDeleted(bucket: string): void;
  /** Ends every watch with `shutting_down`. */
  close(): Promise<void>;
}

export interface JetStreamStoreOptions {
  /** Stays open when the store is closed: it belongs to who made it. */
  readonly connection: NatsConnection;
  /** Whether the server is part of a cluster: then only a stream's leader has seen every write. */
  readonly isClustered: boolean;
  readonly limits: Limits;
  readonly watches: Watches;
  /** Copies that the storage keeps of a new bucket. Default: 1. */
  readonly replicas?: number | undefined;
  /** The largest message that the server takes, headers included. */
  readonly maxPayloadBytes: number;
  readonly log: Log;
}

/** Makes a store on a connection where JetStream answers. Close it before the connection. */
export function createJetStreamStore(options: JetStreamStoreOptions): Store {
  const { connection, isClustered, limits, watches, maxPayloadBytes, log } = options;
  const requests = new Requests(connection);
  const reader = new MessageReader(requests, isClustered);
  const writer = new Writer(requests, reader, isClustered);
  const facts = new BucketFactsCache(requests);
  const liveKeys = new LiveKeys({ requests, reader, isClustered, limits, log });
  const history = new History(requests, reader, isClustered);
  const buckets = new Buckets({ requests, liveKeys, facts, limits, replicas: options.replicas ?? 1 });
  const entries = new Entries({ requests, reader, writer, facts, limits, maxPayloadBytes });
  return {
    createBucket: (config, scope) => buckets.create(config, scope),
    getBucket: (bucket, scope) => buckets.get(bucket, scope),
    listBuckets: (page, scope) => buckets.list(page, scope),
    updateBucket: (bucket, change, scope) => buckets.update(bucket, change, scope),
    async deleteBucket(bucket, scope) {
      await buckets.delete(bucket, scope);
      watches.bucketDeleted(bucket);
    },
    get: (bucket, key, revision, scope) => entries.get(bucket, key, revision, scope),
    put: (bucket, key, value, put, scope) => entries.put(bucket, key, value, put, scope),
    delete: (bucket, key, remove, scope) => entries.delete(bucket, key, remove, scope),
    listKeys: (bucket, filters, page, scope) => liveKeys.list(bucket, filters, page, scope),
    history: (bucket, key, scope) => history.of(bucket, key, scope),
    watch: (bucket, watch, scope) => watches.watch(bucket, watch, scope),
    async ping(scope) {
      try {
        await askJetStream(requests, "INFO", undefined, scope);
      } catch (error) {
        throw toKvError(error, {});
      }
    },
    async close() {
      await watches.close();
      requests.close();
    },
  };
}

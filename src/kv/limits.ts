/**
 * Every limit of the service: name with unit, default, reason. `config/` exposes each one as a setting
 * (`VALUE_BYTES_MAX`, `--value-bytes-max`), and docs/settings.md lists them.
 */
export interface Limits {
  /** The longest key, in bytes of UTF-8. Fixed: the escaped key must stay well below the 4,096 bytes of a NATS control line. */
  readonly keyBytesMax: number;
  /** The longest bucket name, in characters. Fixed by the contract. */
  readonly bucketNameCharsMax: number;
  /** The longest bucket description, in bytes. */
  readonly descriptionBytesMax: number;
  /** The longest content type, in bytes. */
  readonly contentTypeBytesMax: number;
  /** The most pairs of metadata of an entry. Fixed by the contract. */
  readonly metadataPairsMax: number;
  /** The most bytes of the names and values of an entry's metadata. Fixed by the contract. */
  readonly metadataBytesMax: number;
  /** The longest idempotency key, in characters. Fixed by the contract. */
  readonly idempotencyKeyCharsMax: number;
  /** How long the embedded nats-server may take to be ready after its start, in milliseconds: it reads its files first. */
  readonly natsStartTimeoutMs: number;
  /** How long the embedded nats-server may be unresponsive, in milliseconds, before it is restarted. */
  readonly natsHungTimeoutMs: number;
  /** How long a new bucket deduplicates writes by idempotency key, in milliseconds. */
  readonly idempotencyWindowMs: number;
  /** The most writes with an idempotency key that this process remembers, at up to 500 bytes each. The storage remembers all. */
  readonly keyedWritesMax: number;
  /** The deepest history, in revisions per key. Fixed by NATS KV (ADR-8). */
  readonly historyMax: number;
  /** The shortest ttl of a bucket or an entry, in milliseconds. */
  readonly ttlMsMin: number;
  /** The longest ttl of a bucket or an entry, in milliseconds. Nanoseconds of it fit in an int64. */
  readonly ttlMsMax: number;
  /** The most buckets in the storage. */
  readonly bucketsMax: number;
  /** The most buckets that one API key may create. Buckets created with IRONFLOW_API_KEY, or without a key, count only towards `bucketsMax`. */
  readonly bucketsPerApiKeyMax: number;
  /** The smallest `max_bytes` of a bucket. */
  readonly bucketBytesMin: number;
  /** How long the tombstone of a deleted key is kept, in milliseconds; 0: until the bucket is full or compacted. */
  readonly tombstoneRetentionMs: number;
  /** The most filters in one request. */
  readonly filtersMax: number;
  /** The most keys on one page. */
  readonly keysPageMax: number;
  /** The most buckets on one page. */
  readonly bucketsPageMax: number;
  /**
   * The most bytes of one page of a list, measured as JSON, which is never shorter than protobuf. Below the 4 MiB that gRPC clients accept
   * by default. A page has at least one item: it exceeds the limit only if a single item does.
   */
  readonly pageBytesMax: number;
  /** The most keys that one DeleteKeys deletes. */
  readonly deleteKeysMax: number;
  /** The largest config, in bytes of JSON. */
  readonly configBytesMax: number;
  /** The most configs of an environment, and on one page. Each further copy of the service may exceed it by one. */
  readonly configsMax: number;
  /** The most environments with configs: each has a stream. Each further copy of the service may exceed it by one. */
  readonly configEnvironmentsMax: number;
  /** The most entries in one import call. Fixed by the contract. */
  readonly importedEntriesMax: number;
  /** The most operations of a commit. Fixed by the contract: with the records that checks may need, a commit fits into one atomic batch. */
  readonly commitOperationsMax: number;
  /** The most bytes of keys and values in a commit. */
  readonly commitBytesMax: number;
  /** The most bytes of entries that all scans of this process have read and not sent yet. */
  readonly scanBytesMax: number;
  /** The most bytes of keys and values that ListKeys, GetHistory and BatchGet together hold until their responses are encoded. */
  readonly totalPageBytesMax: number;
  /** The most keys in one BatchGet. Fixed by the contract. */
  readonly batchKeysMax: number;
  /** The largest value, in bytes. The storage must accept messages 16 KiB larger than this. */
  readonly valueBytesMax: number;
  /** Values are refused while the embedded server's disk has less free space than this, in bytes. 0: not checked. */
  readonly diskReserveBytes: number;
  /** The most bytes of the read cache, which is used only if this process is the storage's only user; 0: no cache. */
  readonly readCacheBytesMax: number;
  /**
   * The memory for the key indexes of the buckets in use, in bytes. Above it the least recently used ones are dropped. A bucket whose index
   * alone is larger is read in windows of its keys. 0: a tenth of the memory of the machine or container.
   */
  readonly indexBytesMax: number;
  /** Indexes with fewer keys are not written to the data directory: they are loaded in a fraction of a second. */
  readonly indexCheckpointKeysMin: number;
  /**
   * With more deleted sequences in its stream, only the newest key of such a file is compared with the storage: a list of 200,000 sequences takes
   * about 2 MB.
   */
  readonly indexCheckpointDeletedMax: number;
  /**
   * The most bytes in flight from NATS to this process over one connection. Well under half of the server's `max_pending` (64 MiB by
   * default): the server closes a connection above that, and counts a buffer as pending until it is sent completely.
   */
  readonly natsUnreadBytesMax: number;
  /** The largest request message, before and after decompression. Fits a value with its key and framing; base64 in JSON adds a third. */
  readonly messageBytesMax: number;
  /** The largest block of request headers, in bytes. */
  readonly headerBytesMax: number;
  /** The timeout of a call without a client deadline, in milliseconds. */
  readonly callTimeoutMs: number;
  /** The longest client deadline, in milliseconds; longer ones are shortened to it. */
  readonly callTimeoutMsMax: number;
  /** The timeout for connecting to NATS at startup, in milliseconds. */
  readonly natsConnectTimeoutMs: number;
  /** The timeout for NATS to answer a readiness probe, in milliseconds. */
  readonly readyTimeoutMs: number;
  /** The timeout for detecting HTTP/1.1 or HTTP/2 on a new connection, in milliseconds. */
  readonly peekTimeoutMs: number;
  /** How often the TLS files are checked for changes, in milliseconds. */
  readonly tlsReloadIntervalMs: number;
  /** The timeout for receiving a request's headers, in milliseconds. */
  readonly headersTimeoutMs: number;
  /** The timeout for receiving a complete request, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** The timeout for a client to read a pending response or part of a stream, in milliseconds. */
  readonly answerTimeoutMs: number;
  /** The timeout of an idle connection, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** The most concurrent connections. */
  readonly connectionsMax: number;
  /** The most concurrent streams on one HTTP/2 connection. */
  readonly streamsPerConnectionMax: number;
  /** The most streams per second that a client may reset on one HTTP/2 connection, averaged over 30 seconds. */
  readonly streamResetsPerSecondMax: number;
  /** The most bytes of requests without a response, heads included, on one HTTP/2 connection. */
  readonly incompleteRequestBytesMax: number;
  /** The most bytes of unsent responses on one HTTP/2 connection. */
  readonly unsentResponseBytesMax: number;
  /** The most bytes of requests without a response, heads included, on all connections. */
  readonly totalIncompleteRequestBytesMax: number;
  /** The most bytes of unsent responses on all connections, besides up to 16 KiB in the socket of each. */
  readonly totalUnsentResponseBytesMax: number;
  /** The most calls per second of one API key, or of one client address without a key; 0: no limit. */
  readonly callsPerSecondMax: number;
  /** The time for in-flight calls to finish on shutdown, in milliseconds. */
  readonly drainTimeoutMs: number;
  /** How long the service still accepts calls after GET /readyz starts to report the shutdown, in milliseconds. */
  readonly shutdownDelayMs: number;
  /** The most concurrent watches in one process. */
  readonly watchesMax: number;
  /** The most concurrent watches on one connection; at most four fifths of `streamsPerConnectionMax`, so that streams are left for calls. */
  readonly watchesPerConnectionMax: number;
  /** The most concurrent watches of one API key. */
  readonly watchesPerApiKeyMax: number;
  /** The most events queued for one watcher. */
  readonly watchQueueEventsMax: number;
  /** The most bytes of keys and values queued for one watcher. */
  readonly watchQueueBytesMax: number;
  /** The most bytes queued for all watchers of one process. What several of them wait for counts once. */
  readonly totalWatchQueueBytesMax: number;
  /** The most bytes of recent changes kept in memory, of all buckets that are watched or listed; one bucket gets at most an eighth. */
  readonly recentChangesBytesMax: number;
  /** The largest message that a client may send on a WebSocket, in bytes. Clients need not send any. */
  readonly webSocketMessageBytesMax: number;
  /** The most messages and pings that a client may send on a WebSocket between two pings of the service. */
  readonly webSocketMessagesMax: number;
  /** How often an idle connection with watches is pinged, in milliseconds. It is closed if a ping is unanswered when the next one is due. */
  readonly pingIntervalMs: number;
  /** The most API keys. */
  readonly apiKeysMax: number;
  /** The longest name of an API key, in bytes. Fixed by the contract. */
  readonly apiKeyNameBytesMax: number;
  /** The most scopes of an API key. Fixed by the contract. */
  readonly apiKeyScopesMax: number;
  /** The most API keys on one page. Fixed by the contract. */
  readonly apiKeysPageMax: number;
  /** The longest overlap for which a rotated API key's old secret stays valid, in milliseconds. Fixed by the contract. */
  readonly apiKeyOverlapMsMax: number;
  /** How long a watch ticket is valid, in milliseconds. */
  readonly watchTicketMs: number;
  /** The shortest `progress_interval` of a watch, in milliseconds. */
  readonly progressIntervalMsMin: number;
  /** The longest `progress_interval` of a watch, in milliseconds. */
  readonly progressIntervalMsMax: number;
}

/** The default limits. */
export const DEFAULT_LIMITS: Limits = Object.freeze({
  keyBytesMax: 512,
  bucketNameCharsMax: 64,
  descriptionBytesMax: 1_024,
  contentTypeBytesMax: 255,
  metadataPairsMax: 32,
  metadataBytesMax: 2_048,
  idempotencyKeyCharsMax: 128,
  idempotencyWindowMs: 60_000,
  keyedWritesMax: 16_384,
  natsStartTimeoutMs: 3_600_000,
  natsHungTimeoutMs: 30_000,
  historyMax: 64,
  ttlMsMin: 1_000,
  ttlMsMax: 100 * 365 * 24 * 3_600_000,
  bucketsMax: 10_000,
  bucketsPerApiKeyMax: 1_000,
  bucketBytesMin: 1_024,
  tombstoneRetentionMs: 3_600_000,
  filtersMax: 32,
  keysPageMax: 10_000,
  bucketsPageMax: 1_000,
  pageBytesMax: 3 * 1_048_576,
  deleteKeysMax: 10_000,
  configBytesMax: 262_144,
  configsMax: 1_000,
  configEnvironmentsMax: 1_000,
  importedEntriesMax: 1_000,
  commitOperationsMax: 500,
  commitBytesMax: 8 * 1_048_576,
  batchKeysMax: 1_000,
  scanBytesMax: 64 * 1_048_576,
  totalPageBytesMax: 64 * 1_048_576,
  valueBytesMax: 1_048_576,
  diskReserveBytes: 64 * 1_048_576,
  readCacheBytesMax: 64 * 1_048_576,
  indexBytesMax: 0,
  indexCheckpointKeysMin: 20_000,
  indexCheckpointDeletedMax: 200_000,
  natsUnreadBytesMax: 28 * 1_048_576,
  messageBytesMax: 1_572_864,
  headerBytesMax: 32_768,
  callTimeoutMs: 10_000,
  callTimeoutMsMax: 60_000,
  natsConnectTimeoutMs: 5_000,
  readyTimeoutMs: 2_000,
  peekTimeoutMs: 10_000,
  tlsReloadIntervalMs: 2_000,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 60_000,
  answerTimeoutMs: 60_000,
  idleTimeoutMs: 75_000,
  connectionsMax: 10_000,
  streamsPerConnectionMax: 1_250,
  streamResetsPerSecondMax: 30,
  incompleteRequestBytesMax: 134_217_728,
  unsentResponseBytesMax: 134_217_728,
  totalIncompleteRequestBytesMax: 268_435_456,
  totalUnsentResponseBytesMax: 268_435_456,
  callsPerSecondMax: 0,
  drainTimeoutMs: 10_000,
  shutdownDelayMs: 0,
  watchesMax: 20_000,
  watchesPerConnectionMax: 1_000,
  watchesPerApiKeyMax: 10_000,
  watchQueueEventsMax: 4_096,
  watchQueueBytesMax: 16 * 1_048_576,
  totalWatchQueueBytesMax: 256 * 1_048_576,
  recentChangesBytesMax: 64 * 1_048_576,
  webSocketMessageBytesMax: 1_024,
  webSocketMessagesMax: 1_000,
  pingIntervalMs: 20_000,
  apiKeysMax: 1_000,
  apiKeyNameBytesMax: 128,
  apiKeyScopesMax: 32,
  apiKeysPageMax: 1_000,
  apiKeyOverlapMsMax: 30 * 24 * 3_600_000,
  watchTicketMs: 30_000,
  progressIntervalMsMin: 100,
  progressIntervalMsMax: 3_600_000,
});

/**
 * Every limit of the service in one place: name with unit, default, reason. `config.ts` makes each one a setting
 * (`VALUE_BYTES_MAX`, `--value-bytes-max`), and docs/settings.md lists them.
 */
export interface Limits {
  /** The longest key, in bytes of UTF-8. Fixed: escaped it must stay well under the 4,096 bytes of a NATS control line. */
  readonly keyBytesMax: number;
  /** The longest bucket name, in characters. Fixed by the contract. */
  readonly bucketNameCharsMax: number;
  /** The longest bucket description, in bytes. */
  readonly descriptionBytesMax: number;
  /** The longest content type, in bytes. */
  readonly contentTypeBytesMax: number;
  /** The longest idempotency key, in characters. Fixed by the contract. */
  readonly idempotencyKeyCharsMax: number;
  /** How long the embedded nats-server may be silent, in milliseconds, before it is ended and started again. */
  readonly natsHungTimeoutMs: number;
  /** How long a new bucket remembers the writes it took, in milliseconds: sent again meanwhile, they are not applied again. */
  readonly idempotencyWindowMs: number;
  /** The most writes with an idempotency key that this process remembers itself; the storage remembers all. Some 500 bytes each at most. */
  readonly keyedWritesMax: number;
  /** The deepest history, in revisions per key. Fixed by NATS KV (ADR-8). */
  readonly historyMax: number;
  /** The shortest bucket ttl, in milliseconds. */
  readonly ttlMsMin: number;
  /** The longest bucket ttl, in milliseconds. Nanoseconds of it fit in an int64. */
  readonly ttlMsMax: number;
  /** The most buckets in the storage; no more are created then. */
  readonly bucketsMax: number;
  /** The most buckets that one API key may have made; those of IRONFLOW_API_KEY, and without a key, only count among all. */
  readonly bucketsPerApiKeyMax: number;
  /** The smallest `max_bytes` of a bucket. */
  readonly bucketBytesMin: number;
  /** How long the tombstone of a deleted key stays, in milliseconds; 0: until the bucket is full or is compacted. */
  readonly tombstoneRetentionMs: number;
  /** The most filters in one request. */
  readonly filtersMax: number;
  /** The most keys on one page. */
  readonly keysPageMax: number;
  /** The most buckets on one page. */
  readonly bucketsPageMax: number;
  /**
   * The most bytes of one page of a list, counted in JSON, which is never shorter than protobuf: below the 4 MiB that gRPC clients accept
   * by default. A page holds at least one item, so it is larger only where VALUE_BYTES_MAX allows a value that alone is.
   */
  readonly pageBytesMax: number;
  /** The most entries in one call of an import. Fixed by the contract. */
  readonly importedEntriesMax: number;
  /** The largest value, in bytes. The storage must take messages 16 KiB larger than this. */
  readonly valueBytesMax: number;
  /** What is to stay free on the disk of the embedded server, in bytes: values are refused while it is not. 0: it is not looked at. */
  readonly diskReserveBytes: number;
  /** The most bytes of entries kept in memory, where this process alone uses the storage; 0: none, every read asks it. */
  readonly readCacheBytesMax: number;
  /**
   * The most bytes that NATS may have on their way to this process over one connection. Well under half of the server's `max_pending`
   * (64 MiB by default), above which it closes the connection: it also counts what it is sending until all of that is sent.
   */
  readonly natsUnreadBytesMax: number;
  /** The largest request message, also after decompression: a value with its key and framing, a third larger in JSON. */
  readonly messageBytesMax: number;
  /** The largest block of request headers, in bytes. */
  readonly headerBytesMax: number;
  /** The time for a call that brings no deadline of its own, in milliseconds. */
  readonly callTimeoutMs: number;
  /** The longest deadline that a caller may ask for; longer ones are cut to it. */
  readonly callTimeoutMsMax: number;
  /** Time to reach NATS when the service starts, in milliseconds. */
  readonly natsConnectTimeoutMs: number;
  /** Time for NATS to answer a probe, in milliseconds. */
  readonly readyTimeoutMs: number;
  /** Time to tell HTTP/1.1 from HTTP/2 on a new connection, in milliseconds. */
  readonly peekTimeoutMs: number;
  /** How often the TLS files are looked at, in milliseconds. */
  readonly tlsReloadIntervalMs: number;
  /** Time to send a request's headers, in milliseconds. */
  readonly headersTimeoutMs: number;
  /** Time to send a whole request, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Time for a client to take an answer, or some part of a stream, that waits for it, in milliseconds. */
  readonly answerTimeoutMs: number;
  /** How long an idle connection is kept, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** The most connections at once. */
  readonly connectionsMax: number;
  /** The most streams at once on one HTTP/2 connection. */
  readonly streamsPerConnectionMax: number;
  /** The most streams that a client may reset on one HTTP/2 connection, per second over half a minute. */
  readonly streamResetsPerSecondMax: number;
  /** The most bytes of incomplete request bodies on one HTTP/2 connection. */
  readonly incompleteRequestBytesMax: number;
  /** The most bytes of responses that wait for the client on one HTTP/2 connection before new streams are refused. */
  readonly unsentResponseBytesMax: number;
  /** The most calls per second for one API key, or for one address where no key is given; 0: no limit. */
  readonly callsPerSecondMax: number;
  /** Time for in-flight calls to finish when the service stops, in milliseconds. */
  readonly drainTimeoutMs: number;
  /** How long the service goes on as before once it was told to stop and GET /readyz says so, in milliseconds. */
  readonly shutdownDelayMs: number;
  /** The most watches at once in one process. */
  readonly watchesMax: number;
  /** The most watches at once on one connection. */
  readonly watchesPerConnectionMax: number;
  /** The most watches at once for one API key. */
  readonly watchesPerApiKeyMax: number;
  /** The most events that may wait for one watcher. */
  readonly watchQueueEventsMax: number;
  /** The most bytes of keys and values that may wait for one watcher. */
  readonly watchQueueBytesMax: number;
  /** The largest message that a client may send on a WebSocket, in bytes. It has nothing to say there. */
  readonly webSocketMessageBytesMax: number;
  /** The most messages and pings that a client may send on a WebSocket between two pings of the service. */
  readonly webSocketMessagesMax: number;
  /** How often an idle connection with watches is pinged, in milliseconds; gone when no answer came by the next ping. */
  readonly pingIntervalMs: number;
  /** The most API keys. */
  readonly apiKeysMax: number;
  /** The longest name of an API key, in bytes. Fixed by the contract. */
  readonly apiKeyNameBytesMax: number;
  /** The most scopes of an API key. Fixed by the contract. */
  readonly apiKeyScopesMax: number;
  /** The most API keys on one page. Fixed by the contract. */
  readonly apiKeysPageMax: number;
  /** The longest that a rotated API key's old secret may stay good, in milliseconds. Fixed by the contract. */
  readonly apiKeyOverlapMsMax: number;
  /** How long a ticket for a watch is good, in milliseconds. */
  readonly watchTicketMs: number;
  /** The shortest `progress_interval` of a watch, in milliseconds. */
  readonly progressIntervalMsMin: number;
  /** The longest `progress_interval` of a watch, in milliseconds. */
  readonly progressIntervalMsMax: number;
}

/** The limits that apply where nothing is set. */
export const DEFAULT_LIMITS: Limits = Object.freeze({
  keyBytesMax: 512,
  bucketNameCharsMax: 64,
  descriptionBytesMax: 1_024,
  contentTypeBytesMax: 255,
  idempotencyKeyCharsMax: 128,
  idempotencyWindowMs: 60_000,
  keyedWritesMax: 16_384,
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
  importedEntriesMax: 1_000,
  valueBytesMax: 1_048_576,
  diskReserveBytes: 64 * 1_048_576,
  readCacheBytesMax: 64 * 1_048_576,
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
  streamsPerConnectionMax: 1_000,
  streamResetsPerSecondMax: 30,
  incompleteRequestBytesMax: 134_217_728,
  unsentResponseBytesMax: 67_108_864,
  callsPerSecondMax: 0,
  drainTimeoutMs: 10_000,
  shutdownDelayMs: 0,
  watchesMax: 20_000,
  watchesPerConnectionMax: 1_000,
  watchesPerApiKeyMax: 10_000,
  watchQueueEventsMax: 4_096,
  watchQueueBytesMax: 16 * 1_048_576,
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

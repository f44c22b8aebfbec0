/**
 * Every limit of the service in one place: name with unit, default, reason. `config.ts` makes each one a setting
 * (`MAX_VALUE_BYTES`, `--max-value-bytes`), and docs/settings.md lists them.
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
  /** The deepest history, in revisions per key. Fixed by NATS KV (ADR-8). */
  readonly historyMax: number;
  /** The shortest bucket ttl, in milliseconds. */
  readonly ttlMsMin: number;
  /** The longest bucket ttl, in milliseconds. Nanoseconds of it fit in an int64. */
  readonly ttlMsMax: number;
  /** The smallest `max_bytes` of a bucket. */
  readonly bucketBytesMin: number;
  /** The most filters in one request. */
  readonly filtersMax: number;
  /** The most keys on one page. */
  readonly keysPageMax: number;
  /** The most buckets on one page. */
  readonly bucketsPageMax: number;
  /** The largest value, in bytes. The storage must take messages 16 KiB larger than this. */
  readonly valueBytesMax: number;
  /** The largest request message, also after decompression: a value with its key and framing, a third larger in JSON. */
  readonly messageBytesMax: number;
  /** The largest block of request headers, in bytes. */
  readonly headerBytesMax: number;
  /** The time for a call that brings no deadline of its own, in milliseconds. */
  readonly callTimeoutMs: number;
  /** The longest deadline that a caller may ask for; longer ones are cut to it. */
  readonly callTimeoutMsMax: number;
  /** Time to tell HTTP/1.1 from HTTP/2 on a new connection, in milliseconds. */
  readonly peekTimeoutMs: number;
  /** Time to send a request's headers, in milliseconds. */
  readonly headersTimeoutMs: number;
  /** Time to send a whole request, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** How long an idle HTTP/1.1 connection is kept, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** The most connections at once. */
  readonly connectionsMax: number;
  /** The most streams at once on one HTTP/2 connection. */
  readonly streamsPerConnectionMax: number;
  /** Time for in-flight calls to finish when the service stops, in milliseconds. */
  readonly drainTimeoutMs: number;
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
  /** How often an idle connection with watches is pinged, in milliseconds; gone when no answer came by the next ping. */
  readonly pingIntervalMs: number;
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
  historyMax: 64,
  ttlMsMin: 1_000,
  ttlMsMax: 100 * 365 * 24 * 3_600_000,
  bucketBytesMin: 1_024,
  filtersMax: 32,
  keysPageMax: 10_000,
  bucketsPageMax: 1_000,
  valueBytesMax: 1_048_576,
  messageBytesMax: 1_572_864,
  headerBytesMax: 32_768,
  callTimeoutMs: 10_000,
  callTimeoutMsMax: 60_000,
  peekTimeoutMs: 10_000,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 60_000,
  idleTimeoutMs: 75_000,
  connectionsMax: 10_000,
  streamsPerConnectionMax: 1_000,
  drainTimeoutMs: 10_000,
  watchesMax: 20_000,
  watchesPerConnectionMax: 1_000,
  watchesPerApiKeyMax: 10_000,
  watchQueueEventsMax: 4_096,
  watchQueueBytesMax: 16 * 1_048_576,
  pingIntervalMs: 20_000,
  progressIntervalMsMin: 100,
  progressIntervalMsMax: 3_600_000,
});

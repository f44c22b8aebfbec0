/** The limits that are settings, with their ranges. kv/limits.ts describes each. */
import { DEFAULT_LIMITS, type Limits } from "../kv/limits.js";
import { type DefaultedSetting, parseCount } from "./setting.js";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const MEGABYTE = 1_048_576;

export interface LimitSetting extends DefaultedSetting<number> {
  readonly field: keyof Limits;
}

/** Field, minimum, maximum, description. Limits that the contract fixes are not settings. */
const TABLE: readonly (readonly [keyof Limits, number, number, string])[] = [
  [
    "valueBytesMax",
    1,
    7 * MEGABYTE,
    "The largest value, in bytes. MESSAGE_BYTES_MAX must be large enough for it. An external NATS server must accept messages that are 16 KiB larger.",
  ],
  [
    "messageBytesMax",
    8_192,
    12 * MEGABYTE,
    "The largest request message, in bytes, also after decompression.",
  ],
  [
    "commitBytesMax",
    8_192,
    8 * MEGABYTE,
    "The maximum size of the keys and values of a commit, in bytes. Its request message may be larger than MESSAGE_BYTES_MAX.",
  ],
  [
    "diskReserveBytes",
    0,
    1_048_576 * MEGABYTE,
    "The free space to keep on the disk of the embedded server, in bytes; on a small disk at most a tenth of it. Values are refused while less is free. 0: do not check the disk.",
  ],
  [
    "natsUnreadBytesMax",
    8 * MEGABYTE,
    1_024 * MEGABYTE,
    "The maximum number of bytes in transit from NATS to the service over one connection. Reads wait for their turn. Keep it well under half of the server's max_pending (64 MiB by default): the server closes a connection above that limit, and counts data that it is sending until all of it is sent.",
  ],
  [
    "readCacheBytesMax",
    0,
    16_384 * MEGABYTE,
    "The maximum size of the read cache, in bytes. Used with the embedded server and a single process only. 0: no cache.",
  ],
  [
    "indexBytesMax",
    0,
    1_048_576 * MEGABYTE,
    "The memory for the key indexes of the buckets in use, in bytes; a key takes about 50 bytes more than its own length. Once a second, and after each loading, the least recently used indexes are dropped until the others fit, and loaded again when their buckets are listed or counted. The most recently used one always stays, also where it alone is larger: the service needs memory for its largest bucket. 0: a tenth of the machine's memory, or of what its container may use.",
  ],
  ["headerBytesMax", 4_096, MEGABYTE, "The largest block of request headers, in bytes."],
  ["keysPageMax", 1, 100_000, "The maximum number of keys on a page of a list."],
  ["bucketsPageMax", 1, 10_000, "The maximum number of buckets on a page of a list."],
  [
    "pageBytesMax",
    16_384,
    4 * MEGABYTE - 65_536,
    "The maximum size of a page of keys, buckets, API keys or a history, in bytes of JSON. A page holds at least one item. Most gRPC clients accept 4 MiB.",
  ],
  [
    "scanBytesMax",
    8 * MEGABYTE,
    1_048_576 * MEGABYTE,
    "The maximum size of the entries that all scans together have read and not sent yet, in bytes. Further scans wait. A scan begins with up to 8 MiB.",
  ],
  ["bucketsMax", 1, 1_000_000, "The maximum number of buckets in the storage. Further buckets are refused."],
  [
    "bucketsPerApiKeyMax",
    1,
    1_000_000,
    "The maximum number of buckets that one API key may create. Buckets created with `IRONFLOW_API_KEY`, or without a key, count only towards BUCKETS_MAX.",
  ],
  ["callTimeoutMs", 10, HOUR_MS, "The timeout of a call without a deadline, in milliseconds."],
  [
    "callTimeoutMsMax",
    10,
    HOUR_MS,
    "The maximum deadline of a call, in milliseconds. Longer deadlines are shortened to it.",
  ],
  [
    "idempotencyWindowMs",
    SECOND_MS,
    24 * HOUR_MS,
    "How long a new bucket remembers a write, in milliseconds: a retry with the same idempotency key is not applied again. At most the bucket's ttl. Each write uses about 150 bytes of the NATS server's memory.",
  ],
  [
    "tombstoneRetentionMs",
    0,
    365 * 24 * HOUR_MS,
    "How long the tombstone of a deleted key is kept, with the key's history, in milliseconds. It is then compacted, and a watch that was disconnected for longer starts from a snapshot. 0: until the bucket is full or CompactBucket is called.",
  ],
  [
    "keyedWritesMax",
    1,
    1_000_000,
    "The maximum number of writes with an idempotency key that one instance of the service remembers, at most about 500 bytes each. The NATS server remembers all of them. The instance also remembers the request, and can refuse another request with the same key after the entry was overwritten.",
  ],
  [
    "natsHungTimeoutMs",
    SECOND_MS,
    HOUR_MS,
    "How long the embedded nats-server may be unresponsive before the service restarts it, in milliseconds.",
  ],
  [
    "natsConnectTimeoutMs",
    100,
    HOUR_MS,
    "The timeout for reaching the NATS server of NATS_URL when the service starts, in milliseconds. Later requests to NATS use the deadline of their call.",
  ],
  ["readyTimeoutMs", 10, HOUR_MS, "The timeout of NATS for a probe, such as GET /readyz, in milliseconds."],
  [
    "peekTimeoutMs",
    100,
    HOUR_MS,
    "The timeout for the first bytes of a new connection, and for its TLS handshake, in milliseconds.",
  ],
  [
    "tlsReloadIntervalMs",
    100,
    HOUR_MS,
    "How often the service checks the TLS files, in milliseconds. It loads a change once two checks in a row have seen it.",
  ],
  ["headersTimeoutMs", 100, HOUR_MS, "The timeout for receiving the headers of a request, in milliseconds."],
  ["requestTimeoutMs", 100, HOUR_MS, "The timeout for receiving a complete request, in milliseconds."],
  [
    "answerTimeoutMs",
    100,
    HOUR_MS,
    "How long a client may read nothing of a pending response before its call is aborted, in milliseconds.",
  ],
  ["idleTimeoutMs", SECOND_MS, 24 * HOUR_MS, "How long an idle connection is kept open, in milliseconds."],
  [
    "connectionsMax",
    1,
    1_000_000,
    "The maximum number of open connections. With WORKERS, each worker has its share.",
  ],
  [
    "streamsPerConnectionMax",
    1,
    100_000,
    "The maximum number of concurrent streams on one HTTP/2 connection.",
  ],
  [
    "streamResetsPerSecondMax",
    1,
    32,
    "The maximum rate of streams that a client may reset on one HTTP/2 connection, per second over 30 seconds. A connection that exceeds it is closed.",
  ],
  [
    "incompleteRequestBytesMax",
    MEGABYTE,
    2 ** 40,
    "The maximum size of requests without a response on one HTTP/2 connection, headers included, in bytes. The stream that exceeds it is refused.",
  ],
  [
    "unsentResponseBytesMax",
    MEGABYTE,
    2 ** 40,
    "The maximum size of responses that wait for the client to read them on one HTTP/2 connection, in bytes. New streams are refused while half of it is used; above it, the stream with the largest response is reset.",
  ],
  [
    "totalIncompleteRequestBytesMax",
    MEGABYTE,
    2 ** 40,
    "The maximum size of requests without a response on all connections, headers included, in bytes. Above it, the largest incomplete request of the connection with the most is refused, over HTTP/1.1 with 503. If none is incomplete, new requests are refused.",
  ],
  [
    "totalUnsentResponseBytesMax",
    MEGABYTE,
    2 ** 40,
    "The maximum size of responses that wait for clients to read them on all connections, in bytes. Above it, the connection with the most loses its largest response. Up to 16 KiB of each connection are not counted.",
  ],
  [
    "callsPerSecondMax",
    0,
    1_000_000,
    "The maximum number of calls per second for one API key, or for one address if no key is sent. Also the burst size. 0: no limit. With WORKERS, each worker has its share.",
  ],
  [
    "drainTimeoutMs",
    0,
    HOUR_MS,
    "How long calls in flight may take to finish when the service stops, in milliseconds.",
  ],
  [
    "shutdownDelayMs",
    0,
    HOUR_MS,
    "How long the service still accepts calls after the signal to stop, while GET /readyz answers 503, in milliseconds. Gives load balancers time to notice.",
  ],
  [
    "watchesMax",
    1,
    1_000_000,
    "The maximum number of watches on one instance of the service. With WORKERS, each worker has its share.",
  ],
  [
    "watchesPerConnectionMax",
    1,
    1_000_000,
    "The maximum number of watches on one connection; at most four fifths of STREAMS_PER_CONNECTION_MAX, so that streams are left for calls.",
  ],
  [
    "watchesPerApiKeyMax",
    1,
    1_000_000,
    "The maximum number of watches for one API key. With WORKERS, each worker has its share.",
  ],
  ["apiKeysMax", 1, 100_000, "The maximum number of API keys."],
  ["watchTicketMs", SECOND_MS, HOUR_MS, "How long a watch ticket is valid, in milliseconds."],
  [
    "watchQueueEventsMax",
    1,
    1_000_000,
    "The maximum number of events that may wait for one watcher. A watcher that exceeds it is ended as too slow.",
  ],
  [
    "watchQueueBytesMax",
    1_024,
    1_024 * MEGABYTE,
    "The maximum number of bytes that may wait for one watcher. A watcher that exceeds it is ended as too slow.",
  ],
  [
    "recentChangesBytesMax",
    65_536,
    16_384 * MEGABYTE,
    "The maximum size of the buffer of recent changes, in bytes. A resuming watch gets changes from it even if they were overwritten since. All buckets that are watched or listed share it; one bucket uses at most an eighth.",
  ],
  [
    "webSocketMessageBytesMax",
    125,
    MEGABYTE,
    "The largest message that a client may send on a WebSocket, in bytes. Clients have no need to send any.",
  ],
  [
    "webSocketMessagesMax",
    1,
    1_000_000,
    "The maximum number of messages and pings that a client may send on a WebSocket within PING_INTERVAL_MS.",
  ],
  [
    "pingIntervalMs",
    SECOND_MS,
    HOUR_MS,
    "How often the service pings connections, in milliseconds. It closes a connection that has not answered by the next ping.",
  ],
];

/** Former names, accepted with a warning for one version. */
const FORMER_ENV: Partial<Record<keyof Limits, string>> = {
  incompleteRequestBytesMax: "UNFINISHED_BYTES_MAX",
  unsentResponseBytesMax: "UNTAKEN_BYTES_MAX",
};

export const LIMIT_SETTINGS: readonly LimitSetting[] = TABLE.map(([field, least, most, doc]) => ({
  env: field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ...(FORMER_ENV[field] === undefined ? {} : { formerEnv: FORMER_ENV[field] }),
  field,
  value: "number",
  default: String(DEFAULT_LIMITS[field]),
  doc,
  parse: (value) => parseCount(value, least, most),
}));

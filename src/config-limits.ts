/** The limits that can be set, with their ranges. What each means stands in kv/limits.ts. */
import { DEFAULT_LIMITS, type Limits } from "./kv/limits.js";
import { parseCount, type Setting } from "./config-settings.js";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const MEGABYTE = 1_048_576;

/** Field, least, most, what it is. Limits that the contract fixes are not here. */
const TABLE: readonly (readonly [keyof Limits, number, number, string])[] = [
  [
    "valueBytesMax",
    1,
    7 * MEGABYTE,
    "The largest value, in bytes; MESSAGE_BYTES_MAX must fit it. An outside NATS server must take messages 16 KiB larger.",
  ],
  [
    "messageBytesMax",
    8_192,
    12 * MEGABYTE,
    "The largest request message, in bytes, also after decompression.",
  ],
  [
    "diskReserveBytes",
    0,
    1_048_576 * MEGABYTE,
    "What is to stay free on the disk of the embedded server, in bytes; of a small disk a tenth at most. Values are refused while it is not. 0: the disk is not looked at.",
  ],
  [
    "natsUnreadBytesMax",
    8 * MEGABYTE,
    1_024 * MEGABYTE,
    "The most bytes that NATS may have on their way to the service over one connection; reads wait for their turn. Keep it well under half of the server's max_pending (64 MiB by default): the server closes a connection above that, and counts what it is sending until all of that is sent.",
  ],
  [
    "readCacheBytesMax",
    0,
    16_384 * MEGABYTE,
    "The most bytes of entries kept in memory to answer reads from, on the embedded server of a single process; 0: none.",
  ],
  ["headerBytesMax", 4_096, MEGABYTE, "The largest block of request headers, in bytes."],
  ["keysPageMax", 1, 100_000, "The most keys on one page of a listing."],
  ["bucketsPageMax", 1, 10_000, "The most buckets on one page of a listing."],
  [
    "pageBytesMax",
    16_384,
    4 * MEGABYTE - 65_536,
    "The most bytes of one page of keys, buckets, API keys or a history, counted in JSON; a page holds at least one item. Most gRPC clients accept 4 MiB.",
  ],
  ["bucketsMax", 1, 1_000_000, "The most buckets in the storage; no more are created then."],
  [
    "bucketsPerApiKeyMax",
    1,
    1_000_000,
    "The most buckets that one API key may have made; those made with `IRONFLOW_API_KEY`, or without a key, only count among all.",
  ],
  ["callTimeoutMs", 10, HOUR_MS, "The time for a call that brings no deadline, in milliseconds."],
  [
    "callTimeoutMsMax",
    10,
    HOUR_MS,
    "The longest deadline of a call; longer ones are cut to it. Milliseconds.",
  ],
  [
    "idempotencyWindowMs",
    SECOND_MS,
    24 * HOUR_MS,
    "How long a new bucket remembers a write, in milliseconds: sent again with its idempotency key, it is not applied again. At most the bucket's ttl. Each write takes some 150 bytes of the NATS server's memory.",
  ],
  [
    "tombstoneRetentionMs",
    0,
    365 * 24 * HOUR_MS,
    "How long the tombstone of a deleted key stays, with the key's history, in milliseconds: then it is compacted, and a watch that was away for longer begins anew. 0: until the bucket is full, or CompactBucket.",
  ],
  [
    "keyedWritesMax",
    1,
    1_000_000,
    "The most writes with an idempotency key that one copy of the service remembers, of some 500 bytes at most. The NATS server remembers all; the copy also knows what was asked for, so that another request with the same key is refused after the entry was overwritten.",
  ],
  [
    "natsHungTimeoutMs",
    SECOND_MS,
    HOUR_MS,
    "How long the embedded nats-server may be silent before it is ended and started again, in milliseconds.",
  ],
  [
    "natsConnectTimeoutMs",
    100,
    HOUR_MS,
    "The time to reach the NATS server of NATS_URL when the service starts, in milliseconds. Later calls to NATS end with the call they are made for.",
  ],
  [
    "readyTimeoutMs",
    10,
    HOUR_MS,
    "The time for NATS to answer a probe, such as GET /readyz, in milliseconds.",
  ],
  [
    "peekTimeoutMs",
    100,
    HOUR_MS,
    "The time for a new connection to send its first bytes, and for its TLS handshake, in milliseconds.",
  ],
  [
    "tlsReloadIntervalMs",
    100,
    HOUR_MS,
    "How often the TLS files are looked at, in milliseconds; a change is taken when it was seen twice.",
  ],
  ["headersTimeoutMs", 100, HOUR_MS, "The time to send a request's headers, in milliseconds."],
  ["requestTimeoutMs", 100, HOUR_MS, "The time to send a whole request, in milliseconds."],
  [
    "answerTimeoutMs",
    100,
    HOUR_MS,
    "The time to take an answer that waits, in milliseconds; a client that takes nothing for so long loses the call.",
  ],
  ["idleTimeoutMs", SECOND_MS, 24 * HOUR_MS, "How long an idle connection is kept, in milliseconds."],
  ["connectionsMax", 1, 1_000_000, "The most connections at once. With WORKERS, each worker has its share."],
  ["streamsPerConnectionMax", 1, 100_000, "The most streams at once on one HTTP/2 connection."],
  [
    "streamResetsPerSecondMax",
    1,
    32,
    "The most streams that a client may reset on one HTTP/2 connection, per second over half a minute; a connection with more is closed.",
  ],
  [
    "incompleteRequestBytesMax",
    MEGABYTE,
    2 ** 40,
    "The most bytes of incomplete request bodies on one HTTP/2 connection; the stream that exceeds it is refused.",
  ],
  [
    "unsentResponseBytesMax",
    MEGABYTE,
    2 ** 40,
    "The most bytes of responses that wait for the client to read them on one HTTP/2 connection; beyond it new streams are refused.",
  ],
  [
    "callsPerSecondMax",
    0,
    1_000_000,
    "The most calls per second for one API key, or for one address where no key is given; as many at once. 0: no limit. With WORKERS, each worker has its share.",
  ],
  [
    "drainTimeoutMs",
    0,
    HOUR_MS,
    "The time for calls in flight to finish when the service stops, in milliseconds.",
  ],
  [
    "shutdownDelayMs",
    0,
    HOUR_MS,
    "How long the service still takes calls after the signal to stop, while GET /readyz answers 503, in milliseconds: the time that balancers need to see it.",
  ],
  [
    "watchesMax",
    1,
    1_000_000,
    "The most watches at once in one copy of the service. With WORKERS, each worker has its share.",
  ],
  ["watchesPerConnectionMax", 1, 1_000_000, "The most watches at once on one connection."],
  [
    "watchesPerApiKeyMax",
    1,
    1_000_000,
    "The most watches at once for one API key. With WORKERS, each worker has its share.",
  ],
  ["apiKeysMax", 1, 100_000, "The most API keys."],
  ["watchTicketMs", SECOND_MS, HOUR_MS, "How long a ticket for a watch is good, in milliseconds."],
  [
    "watchQueueEventsMax",
    1,
    1_000_000,
    "The most events that may wait for one watcher before it is ended as too slow.",
  ],
  [
    "watchQueueBytesMax",
    1_024,
    1_024 * MEGABYTE,
    "The most bytes that may wait for one watcher before it is ended as too slow.",
  ],
  [
    "webSocketMessageBytesMax",
    125,
    MEGABYTE,
    "The largest message that a client may send on a WebSocket, in bytes; it has nothing to say there.",
  ],
  [
    "webSocketMessagesMax",
    1,
    1_000_000,
    "The most messages and pings that a client may send on a WebSocket within PING_INTERVAL_MS.",
  ],
  [
    "pingIntervalMs",
    SECOND_MS,
    HOUR_MS,
    "How often connections are pinged, in milliseconds; one that did not answer by the next ping is closed.",
  ],
];

/** Former names, accepted with a warning for one version. */
const FORMER_ENV: Partial<Record<keyof Limits, string>> = {
  incompleteRequestBytesMax: "UNFINISHED_BYTES_MAX",
  unsentResponseBytesMax: "UNTAKEN_BYTES_MAX",
};

export const LIMIT_SETTINGS: readonly Setting[] = TABLE.map(([field, least, most, doc]) => ({
  env: field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ...(FORMER_ENV[field] === undefined ? {} : { formerEnv: FORMER_ENV[field] }),
  field,
  value: "number",
  default: String(DEFAULT_LIMITS[field]),
  doc,
  limit: true,
  parse: (value) => parseCount(value, least, most),
}));

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
  ["headerBytesMax", 4_096, MEGABYTE, "The largest block of request headers, in bytes."],
  ["keysPageMax", 1, 100_000, "The most keys on one page of a listing."],
  ["bucketsPageMax", 1, 10_000, "The most buckets on one page of a listing."],
  ["callTimeoutMs", 10, HOUR_MS, "The time for a call that brings no deadline, in milliseconds."],
  [
    "callTimeoutMsMax",
    10,
    HOUR_MS,
    "The longest deadline of a call; longer ones are cut to it. Milliseconds.",
  ],
  ["peekTimeoutMs", 100, HOUR_MS, "The time for a new connection to send its first bytes, in milliseconds."],
  ["headersTimeoutMs", 100, HOUR_MS, "The time to send a request's headers, in milliseconds."],
  ["requestTimeoutMs", 100, HOUR_MS, "The time to send a whole request, in milliseconds."],
  ["idleTimeoutMs", SECOND_MS, 24 * HOUR_MS, "How long an idle connection is kept, in milliseconds."],
  ["connectionsMax", 1, 1_000_000, "The most connections at once."],
  ["streamsPerConnectionMax", 1, 100_000, "The most streams at once on one HTTP/2 connection."],
  [
    "drainTimeoutMs",
    0,
    HOUR_MS,
    "The time for calls in flight to finish when the service stops, in milliseconds.",
  ],
  ["watchesMax", 1, 1_000_000, "The most watches at once in one process."],
  ["watchesPerConnectionMax", 1, 1_000_000, "The most watches at once on one connection."],
  ["watchesPerApiKeyMax", 1, 1_000_000, "The most watches at once for one API key."],
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
    "pingIntervalMs",
    SECOND_MS,
    HOUR_MS,
    "How often connections are pinged, in milliseconds; one that did not answer by the next ping is closed.",
  ],
];

export const LIMIT_SETTINGS: readonly Setting[] = TABLE.map(([field, least, most, doc]) => ({
  env: field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  field,
  value: "number",
  default: String(DEFAULT_LIMITS[field]),
  doc,
  limit: true,
  parse: (value) => parseCount(value, least, most),
}));

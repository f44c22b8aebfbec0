/** The limits of the key indexes, and of what is read with them, that are settings. */
import type { Limits } from "../kv/limits.js";

const MEGABYTE = 1_048_576;

/** See `LIMIT_TABLE`. */
export const INDEX_LIMITS: readonly (readonly [keyof Limits, number, number, string])[] = [
  [
    "indexBytesMax",
    0,
    1_048_576 * MEGABYTE,
    "The memory for the key indexes of the buckets in use, in bytes; a key takes about 50 bytes more than its own length. Once a second, and after each loading, the least recently used indexes are dropped until the others fit, and loaded again when their buckets are listed or counted. A bucket whose index alone is larger is read in windows of its keys, each a quarter of this: lists, counts, scans and bulk deletes stay exact and become slower, as each window takes a read of all keys without their values. Its pages may be shorter than requested, a scan during writes may need `allow_newer`, and lists are refused where its deleted keys alone do not fit. Loading takes up to twice the memory for a moment. At least 131,072 bytes are used. 0: a tenth of the machine's memory, or of what its container may use.",
  ],
  [
    "indexCheckpointKeysMin",
    1,
    2 ** 53 - 1,
    "A key index with at least this many keys is also kept in a file in the data directory, with the embedded server and a single process: written after a load, after many changes and at the end, and compared with the storage before it is used. A restart then reads the file instead of all keys.",
  ],
  [
    "indexCheckpointDeletedMax",
    0,
    100 * MEGABYTE,
    "The most deleted sequences of a stream that are read to compare all keys of such a file with the storage; 200,000 take about 2 MB. With more, only its newest key and the number of its keys are compared.",
  ],
  [
    "totalPageBytesMax",
    16 * MEGABYTE,
    1_048_576 * MEGABYTE,
    "The maximum memory of the lists of keys, histories and batches of values that are being read or encoded, of all calls, in bytes. Further calls wait.",
  ],
];

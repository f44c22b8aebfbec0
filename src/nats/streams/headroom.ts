/**
 * Headroom: the stream's limit is higher than the bucket's `max_bytes`, which the service enforces for values. So deletes, purges and
 * expiry markers always fit.
 *
 * An expiry marker replaces its key's revisions and is larger than the smallest of them: a bucket full of empty values grows by 45 % when
 * all of them expire. With a history of several revisions, a tombstone adds to the size; tombstones are compacted when space runs short.
 *
 * Other programs can fill the headroom. Then a delete raises the limit while it runs, and the sweep raises it while markers do not fit. The
 * raised limit is at most twice the limit with headroom, which does not grow with what was written into the headroom.
 */
import type { StreamConfig } from "../client/jetstream-api.js";

/** The requested `max_bytes`. */
const MAX_BYTES_KEY = "ironflow.max_bytes";
/** The stream's limit for that `max_bytes`. */
const STREAM_BYTES_KEY = "ironflow.stream_max_bytes";
/** The stream's limit while it is raised; absent otherwise. */
const RAISED_BYTES_KEY = "ironflow.raised_max_bytes";
const BYTES_KEYS: ReadonlySet<string> = new Set([MAX_BYTES_KEY, STREAM_BYTES_KEY, RAISED_BYTES_KEY]);
const HEADROOM_FRACTION = 0.5;
const HEADROOM_BYTES_MIN = 65_536;
const RAISED_FACTOR_MAX = 2;

/** The stream's fields for a `max_bytes`; 0: no limit. `heldBytes`: the bucket's size, see {@link heldBytes}; may exceed `max_bytes`. */
export function byteLimitConfig(
  maxBytes: number,
  heldBytes: number,
  metadata: Readonly<Record<string, string>>,
): { readonly max_bytes: number; readonly metadata: Readonly<Record<string, string>> } {
  const others = Object.fromEntries(Object.entries(metadata).filter(([name]) => !BYTES_KEYS.has(name)));
  if (maxBytes === 0) return { max_bytes: -1, metadata: others };
  const streamBytes = withHeadroom(Math.max(maxBytes, heldBytes));
  return {
    max_bytes: streamBytes,
    metadata: { ...others, [MAX_BYTES_KEY]: String(maxBytes), [STREAM_BYTES_KEY]: String(streamBytes) },
  };
}

function withHeadroom(bytes: number): number {
  const withRoom = bytes + Math.ceil(bytes * HEADROOM_FRACTION) + HEADROOM_BYTES_MIN;
  return Math.max(bytes, Math.min(withRoom, Number.MAX_SAFE_INTEGER));
}

/** The bucket's size without what other programs wrote into its headroom: a new limit must not grow with that. */
export function heldBytes(config: StreamConfig, usedBytes: number): number {
  if (!hasHeadroom(config)) return usedBytes;
  const below = (settledBytes(config) - HEADROOM_BYTES_MIN) / (1 + HEADROOM_FRACTION);
  return Math.min(usedBytes, Math.max(0, Math.floor(below)));
}

/** Whether the stream's limit includes headroom. If another program has changed the limit since, that limit applies instead. */
export function hasHeadroom({ max_bytes, metadata }: StreamConfig): boolean {
  if (metadata?.[MAX_BYTES_KEY] === undefined) return false;
  const limit = String(max_bytes);
  return metadata[STREAM_BYTES_KEY] === limit || metadata[RAISED_BYTES_KEY] === limit;
}

/** The bucket's `max_bytes`; 0: no limit. */
export function maxBytesOf(config: StreamConfig): number {
  if (hasHeadroom(config)) return Number(config.metadata?.[MAX_BYTES_KEY]);
  return Math.max(0, config.max_bytes ?? 0);
}

/** The limit of a stream with headroom while it is not raised. */
export function settledBytes({ metadata }: StreamConfig): number {
  return Number(metadata?.[STREAM_BYTES_KEY]);
}

export function isRaised({ metadata }: StreamConfig): boolean {
  return metadata?.[RAISED_BYTES_KEY] !== undefined;
}

/** The configuration with a raised limit, which leaves this many bytes free if the maximum allows it. The stream must have headroom. */
export function raised(config: StreamConfig, usedBytes: number, freeBytes: number): StreamConfig {
  const settled = settledBytes(config);
  const most = Math.min(settled * RAISED_FACTOR_MAX, Number.MAX_SAFE_INTEGER);
  const limit = Math.min(most, Math.max(settled, config.max_bytes ?? 0, usedBytes + freeBytes));
  return { ...config, max_bytes: limit, metadata: { ...config.metadata, [RAISED_BYTES_KEY]: String(limit) } };
}

/** The configuration with the limit lowered again. The stream keeps its entries, because it never discards old ones. */
export function lowered(config: StreamConfig): StreamConfig {
  const metadata = Object.fromEntries(
    Object.entries(config.metadata ?? {}).filter(([name]) => name !== RAISED_BYTES_KEY),
  );
  // Keep a limit that another program has set since.
  const max_bytes = hasHeadroom(config) ? settledBytes(config) : (config.max_bytes ?? -1);
  return { ...config, max_bytes, metadata };
}

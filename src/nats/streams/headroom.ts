/**
 * Room above a bucket's `max_bytes`, which the service itself enforces for values: deletes, purges and expiry markers always fit.
 *
 * An expiry marker replaces its key's revisions, and is larger than the smallest of them: a bucket full of empty values grows by 45 % when
 * all of them expire. A tombstone in a history of several revisions comes on top; tombstones are compacted where room gets short.
 */
import type { StreamConfig } from "../client/jetstream-api.js";

/** The `max_bytes` that was asked for. */
const MAX_BYTES_KEY = "ironflow.max_bytes";
/** The limit that the stream was given for it. */
const STREAM_BYTES_KEY = "ironflow.stream_max_bytes";
const HEADROOM_FRACTION = 0.5;
const HEADROOM_BYTES_MIN = 65_536;

/** The fields of a stream for a `max_bytes`; 0: no limit. `usedBytes`: what the bucket holds, which may be more. */
export function byteLimitConfig(
  maxBytes: number,
  usedBytes: number,
  metadata: Readonly<Record<string, string>>,
): { readonly max_bytes: number; readonly metadata: Readonly<Record<string, string>> } {
  const others = Object.fromEntries(
    Object.entries(metadata).filter(([name]) => name !== MAX_BYTES_KEY && name !== STREAM_BYTES_KEY),
  );
  if (maxBytes === 0) return { max_bytes: -1, metadata: others };
  const streamBytes = streamBytesOf(maxBytes, usedBytes);
  return {
    max_bytes: streamBytes,
    metadata: { ...others, [MAX_BYTES_KEY]: String(maxBytes), [STREAM_BYTES_KEY]: String(streamBytes) },
  };
}

function streamBytesOf(maxBytes: number, usedBytes: number): number {
  const most = Math.max(maxBytes, usedBytes);
  const withRoom = most + Math.ceil(most * HEADROOM_FRACTION) + HEADROOM_BYTES_MIN;
  return Math.max(most, Math.min(withRoom, Number.MAX_SAFE_INTEGER));
}

/** Whether the stream's limit has headroom above the bucket's. Another program may have set a limit since: then that one counts. */
export function hasHeadroom({ max_bytes, metadata }: StreamConfig): boolean {
  return metadata?.[MAX_BYTES_KEY] !== undefined && metadata[STREAM_BYTES_KEY] === String(max_bytes);
}

/** The bucket's `max_bytes`; 0 for no limit. */
export function maxBytesOf(config: StreamConfig): number {
  if (hasHeadroom(config)) return Number(config.metadata?.[MAX_BYTES_KEY]);
  return Math.max(0, config.max_bytes ?? 0);
}

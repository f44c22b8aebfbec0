/**
 * Whether a stream lost writes that were delivered from it: an outside server that was not synced came back without its last ones. Their
 * sequences are given away again, so that the stream's numbers alone do not tell. Lost writes are the newest, so the last one that was
 * delivered is always among them. It is lost where
 * - another message, stored at another time, has its sequence; or it is gone, and
 * - a message of a lower sequence was stored later, or
 * - nothing explains that it is gone: no later change of its key, no lifetime that ended, no compaction.
 */
import type { StreamApi, StreamState } from "../read/stream-api.js";
import type { Change } from "../read/delivery.js";

/** The last message that was delivered, or was the stream's newest when the feed began. */
export interface LastSeen {
  readonly sequence: number;
  /** When it was stored, in nanoseconds since 1970; 0 where that is not known. */
  readonly storedAtNanos: bigint;
  /** Undefined where only its place is known. */
  readonly change:
    { readonly subject: string; readonly isPut: boolean; readonly expiresAtMs: number } | undefined;
}

const NANOS_PER_MS = 1_000_000n;

/** Reads what counts of a change, before it is decoded. */
export function lastSeenOf(change: Change, subjectPrefix: string, ageMsMax: number): LastSeen {
  return {
    sequence: change.revision,
    storedAtNanos: change.storedAtNanos,
    change: {
      subject: subjectPrefix + change.storedKey,
      isPut: !change.isTombstone,
      expiresAtMs: change.expiresAtMs(ageMsMax),
    },
  };
}

/** Whether the stream lost what was delivered from it. */
export async function lostDelivered(api: StreamApi, state: StreamState, last: LastSeen): Promise<boolean> {
  const { sequence, storedAtNanos, change } = last;
  if (storedAtNanos <= 0n) return false;
  const there = await api.messageAt(sequence);
  if (there !== undefined) return there.atNanos !== storedAtNanos;
  const { startsAfter } = await api.probeConsumer({
    deliver_policy: "by_start_time",
    opt_start_time: timestampOf(storedAtNanos + 1n),
  });
  if (startsAfter < sequence) {
    // The leader decides: on a copy that lags behind, the next message to come may have that sequence.
    const later = await api.messageAt(startsAfter + 1);
    if (later !== undefined && later.atNanos > storedAtNanos) return true;
  }
  if (change === undefined) return false;
  const newest = await api.newestOf(change.subject);
  if (newest !== undefined) return newest.sequence < sequence;
  const mayBeCompacted = !change.isPut || state.compactedTo >= sequence;
  const endsAtMs = Math.min(change.expiresAtMs, endOfLifeMs(storedAtNanos, state.ageMsMax));
  return !mayBeCompacted && state.nowMs < endsAtMs;
}

function endOfLifeMs(storedAtNanos: bigint, ageMsMax: number): number {
  return ageMsMax === 0 ? Infinity : Number(storedAtNanos / NANOS_PER_MS) + ageMsMax;
}

/** RFC 3339 with nine decimals. */
function timestampOf(nanos: bigint): string {
  const upToMs = new Date(Number(nanos / NANOS_PER_MS)).toISOString().slice(0, -1);
  return `${upToMs}${(nanos % NANOS_PER_MS).toString().padStart(6, "0")}Z`;
}

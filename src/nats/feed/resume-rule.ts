/**
 * When a watch may go on from a revision, and when changes after it may be gone.
 *
 * What a bucket's stream removes, and what is then left to tell a watch of it:
 * - A revision that a later one of the same key replaced (history depth, purge of a key, roll-up). The later one is still there, and
 *   the watch gets it: nothing about the present is missed. By the stream's numbers such a gap looks like any other, so that a gap
 *   alone proves nothing, and neither does a first sequence past the revision: in a busy bucket of history 1 every key may have been
 *   rewritten.
 * - The newest entry of a key, by age. The server leaves a marker in its place (EXPIRE), which lives for a time of its
 *   own, but no longer than any entry (measured on 2.14; a tombstone that ages out leaves no marker). Once it is gone nothing is left.
 *   So where entries age, going on is safe only if nothing at all was removed since, or while everything since is younger than the
 *   shorter of the two lives: then no marker or tombstone that was needed can have aged out.
 * - A tombstone with what was before it, by compaction. The bucket's metadata says up to which revision some may be gone.
 * - Anything, by a purge of the stream itself, past this service. It leaves nothing behind. It is proven when the newest revision
 *   of the stream is no longer stored: nothing can have replaced that one. Once something was written after such a purge, the storage keeps
 *   no trace that tells it from replaced revisions. (The service itself never does this.)
 */
import type { StreamApi, StreamState } from "../read/stream-api.js";

/** Taken off the time that removals stay visible, so that what is safe now is still there when it is read. */
const READ_MARGIN_MS_MAX = 10_000;

/**
 * The oldest revision from which a watch misses nothing, where that is later than `next`; undefined when it may go on from `next`, having
 * seen everything before. `awayMs`: how long ago, at most, it was known to miss nothing; undefined when that is not known.
 */
export async function missedUpTo(
  api: StreamApi,
  state: StreamState,
  next: number,
  awayMs: number | undefined,
): Promise<number | undefined> {
  if (next > state.lastSequence) return undefined;
  if (next <= state.compactedTo) return state.compactedTo + 1;
  const keepsMs = removalsVisibleMs(state);
  if (keepsMs !== undefined && (awayMs === undefined || awayMs >= keepsMs)) {
    if (await nothingRemovedSince(api, state, next)) return undefined;
    const oldestYoung = await firstSince(api, state.nowMs - keepsMs);
    if (next < oldestYoung) return oldestYoung;
  }
  return (await wasPurged(api, state)) ? state.lastSequence + 1 : undefined;
}

/** For how long at least every removal leaves a visible trace; undefined: forever. */
function removalsVisibleMs(state: StreamState): number | undefined {
  const livesMs = [state.ageMsMax, state.markerMs].filter((timeMs) => timeMs > 0);
  if (livesMs.length === 0) return undefined;
  const shortestMs = Math.min(...livesMs);
  return shortestMs - Math.min(shortestMs / 2, READ_MARGIN_MS_MAX);
}

/** Whether every revision from `next` on is still stored. */
async function nothingRemovedSince(api: StreamApi, state: StreamState, next: number): Promise<boolean> {
  const { pending } = await api.probeConsumer({ deliver_policy: "by_start_sequence", opt_start_seq: next });
  return pending >= state.lastSequence - next + 1;
}

/** The sequence of the first stored message that is not older than this, or of the next to come. */
async function firstSince(api: StreamApi, timeMs: number): Promise<number> {
  const { startsAfter } = await api.probeConsumer({
    deliver_policy: "by_start_time",
    opt_start_time: new Date(timeMs).toISOString(),
  });
  return startsAfter + 1;
}

/** Whether the stream's newest message is gone. It is looked at again where a new one came meanwhile, which may have replaced it. */
async function wasPurged(api: StreamApi, seen: StreamState): Promise<boolean> {
  for (let state = seen; ;) {
    if (state.messages === 0) return true;
    if ((await api.messageAt(state.lastSequence)) !== undefined) return false;
    const now = await api.state();
    if (now.lastSequence === state.lastSequence) return true;
    state = now;
  }
}

/** What an interruption cost a feed, and how it gets what it missed. */
import type { KvError } from "../../kv/errors.js";
import { bucketNotFound, unavailable } from "../client/errors.js";
import type { Change } from "../read/delivery.js";
import type { StreamApi, StreamState } from "../read/stream-api.js";
import type { FeedEnd } from "./bucket-feed.js";
import type { FeedPosition } from "./feed-position.js";
import { type RangeReaderOptions, readRange } from "./range-reader.js";
import { missedUpTo } from "./resume-rule.js";
import { lostDelivered } from "./rollback.js";

/** A stream that is behind what it delivered is still being recovered; after this time, it has lost writes. */
const ROLLED_BACK_MS = 10_000;

/**
 * Passes over what may be gone without a trace. Returns how the feed ends where the storage lost what was shown. Throws where it may still
 * be recovering it.
 */
export async function checkMissed(
  api: StreamApi,
  at: FeedPosition,
  state: StreamState,
  awaySinceMs: number,
): Promise<FeedEnd | undefined> {
  const awayMs = performance.now() - awaySinceMs;
  const rolledBack = { kind: "rolled_back", lastSequence: state.lastSequence } as const;
  if (state.lastSequence < at.sequence) {
    if (awayMs < ROLLED_BACK_MS) throw new Error("the stream is behind what was delivered from it");
    return rolledBack;
  }
  const usable = await missedUpTo(api, state, at.sequence + 1, awayMs);
  if (usable === undefined) return (await lostDelivered(api, state, at.lastSeen)) ? rolledBack : undefined;
  at.passOver(usable - 1, false);
  return undefined;
}

/** Shows what the stream holds up to a sequence, and what has arrived meanwhile although it is superseded by now; passes over the rest. */
export async function showMissing(
  options: RangeReaderOptions,
  at: FeedPosition,
  through: number,
  isCurrent: () => boolean,
  arrivedUpTo: (sequence: number) => readonly Change[],
): Promise<void> {
  if (at.sequence >= through) return;
  await readRange(options, at.sequence + 1, through, isCurrent, async (stored, end) => {
    const changes = stored.length === end - at.sequence ? stored : together(stored, arrivedUpTo(end));
    const isGapless = changes.length === end - at.sequence;
    // Compaction leaves its mark before it removes anything.
    const compactedTo = isGapless ? 0 : (await options.api.state()).compactedTo;
    if (!isCurrent()) return;
    for (const change of changes) {
      at.passOver(change.revision - 1, at.sequence >= compactedTo);
      if (change.revision > at.sequence) at.apply(change);
    }
    at.passOver(end, at.sequence >= compactedTo);
  });
}

/** In the order of sequences. What is stored decides. */
function together(stored: readonly Change[], arrived: readonly Change[]): readonly Change[] {
  const sequences = new Set(stored.map(({ revision }) => revision));
  const others = arrived.filter(({ revision }) => !sequences.has(revision));
  return [...stored, ...others].sort((left, right) => left.revision - right.revision);
}

/** What callers get who wait for a feed that is over. */
export function errorOfEnd(end: FeedEnd, bucket: string): KvError {
  if (end.kind === "failed") return end.error;
  return end.kind === "deleted" ? bucketNotFound(bucket) : unavailable({ bucket });
}

/** How large the answers about each stream are, as far as they show it. */

/** Reads of a stream with larger answers are bulk reads. */
export const SMALL_BYTES_MAX = 65_536;
/** What is expected where nothing was seen yet. */
const UNKNOWN_BYTES = 262_144;
/** How long a large answer counts. */
const LARGE_FOR_MS = 30_000;
const STREAMS_MAX = 10_000;

interface Seen {
  /** The largest of all. */
  largest: number;
  /** The largest of late, and until when it counts. */
  recent: number;
  untilMs: number;
}

export class AnswerSizes {
  private readonly seen = new Map<string, Seen>();

  /** The largest answer that was seen, where one was large. */
  largest(stream: string): number {
    return this.seen.get(stream)?.largest ?? 0;
  }

  /** The probable size of the next answer, where it is large or not known; undefined: it is small. */
  bulkBytes(stream: string): number | undefined {
    const seen = this.seen.get(stream);
    if (seen === undefined) return UNKNOWN_BYTES;
    if (seen.recent === 0) return undefined;
    return performance.now() < seen.untilMs ? seen.recent : UNKNOWN_BYTES;
  }

  note(stream: string, bytes: number): void {
    const seen = this.seen.get(stream) ?? this.add(stream);
    if (bytes <= SMALL_BYTES_MAX) {
      if (seen.recent > 0 && performance.now() >= seen.untilMs) seen.recent = 0;
      return;
    }
    const nowMs = performance.now();
    seen.recent = nowMs < seen.untilMs ? Math.max(seen.recent, bytes) : bytes;
    seen.untilMs = nowMs + LARGE_FOR_MS;
    seen.largest = Math.max(seen.largest, bytes);
  }

  private add(stream: string): Seen {
    if (this.seen.size >= STREAMS_MAX) this.seen.clear();
    const seen = { largest: 0, recent: 0, untilMs: 0 };
    this.seen.set(stream, seen);
    return seen;
  }
}

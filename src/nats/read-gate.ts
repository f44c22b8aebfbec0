/**
 * How many reads may be under way at once. A NATS server cuts a connection for which more than its `max_pending` (64 MiB by default) waits
 * to be sent; every call in flight would fail with it, the writes with an outcome that nobody knows. So a hundred readers of large
 * values must wait for each other.
 */
import type { Limits } from "../kv/limits.js";

/** Three quarters of what a server holds for one connection by default; the rest is for watches and small answers. */
const PENDING_BYTES_MAX = 48 * 1_048_576;
/** What an answer has beside the value. */
const OVERHEAD_BYTES = 16_384;

export class ReadGate {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  /** Every answer may hold the largest value; that of a stream's leader holds it in base64. */
  constructor(limits: Pick<Limits, "valueBytesMax">, isClustered: boolean) {
    const answerBytesMax = (limits.valueBytesMax + OVERHEAD_BYTES) * (isClustered ? 4 / 3 : 1);
    this.free = Math.max(1, Math.floor(PENDING_BYTES_MAX / answerBytesMax));
  }

  /** Takes a place. Undefined where there was one; else resolves when there is, for who waits longest first. Give it back by {@link leave}. */
  enter(): Promise<void> | undefined {
    if (this.free === 0) return new Promise((resolve) => this.waiting.push(resolve));
    this.free--;
    return undefined;
  }

  leave(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.free++;
    else next();
  }
}

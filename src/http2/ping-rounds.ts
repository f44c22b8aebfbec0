/** Tells by pings, one each round, whether the other side is still there. */

/** A round that took so much longer than it should says nothing: this process had no time to send the ping, or to read the answer. */
const LATENESS_MAX = 1.25;

export class PingRounds {
  private isAnswered = true;
  private lastMs = performance.now();

  constructor(private readonly intervalMs: number) {}

  /** An answer came. */
  answered(): void {
    this.isAnswered = true;
  }

  /** Ends a round: `gone` where the ping had its time and was not answered, `ping` where it is time for the next. */
  next(): "ping" | "wait" | "gone" {
    const nowMs = performance.now();
    const isLate = nowMs - this.lastMs > this.intervalMs * LATENESS_MAX;
    this.lastMs = nowMs;
    if (!this.isAnswered) return isLate ? "wait" : "gone";
    this.isAnswered = false;
    return "ping";
  }
}

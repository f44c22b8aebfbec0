/** Detects dead peers: sends one ping per interval and expects its answer before the next. */

/** A round this much longer than the interval proves nothing: this process was too busy to send the ping or to read the answer. */
const LATENESS_MAX = 1.25;

export class PingMonitor {
  private isAnswered = true;
  private lastMs = performance.now();

  constructor(private readonly intervalMs: number) {}

  /** Call it when a pong arrives. */
  answered(): void {
    this.isAnswered = true;
  }

  /** Ends a round: `gone` if the last ping was not answered in time, `ping` if the next one is due. */
  next(): "ping" | "wait" | "gone" {
    const nowMs = performance.now();
    const isLate = nowMs - this.lastMs > this.intervalMs * LATENESS_MAX;
    this.lastMs = nowMs;
    if (!this.isAnswered) return isLate ? "wait" : "gone";
    this.isAnswered = false;
    return "ping";
  }
}

/** Token bucket: a burst and a refill rate. */
export class TokenBucket {
  private tokens: number;
  private filledMs = performance.now();

  constructor(
    private readonly burst: number,
    private readonly perSecond: number,
  ) {
    this.tokens = burst;
  }

  /** Takes a token; false if there is none. */
  take(): boolean {
    // Reading the clock is worth it only when the tokens run out.
    if (this.tokens < 1) this.fill();
    return --this.tokens >= 0;
  }

  private fill(): void {
    const nowMs = performance.now();
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.filledMs) / 1_000) * this.perSecond);
    this.filledMs = nowMs;
  }
}

/** How much of something a connection may do: so many at once, and so many more per second. */
export class Budget {
  private left: number;
  private filledMs = performance.now();

  constructor(
    private readonly atOnce: number,
    private readonly perSecond: number,
  ) {
    this.left = atOnce;
  }

  /** False: that was too much. */
  take(): boolean {
    // The time is asked for only where it matters.
    if (this.left < 1) this.fill();
    return --this.left >= 0;
  }

  private fill(): void {
    const nowMs = performance.now();
    this.left = Math.min(this.atOnce, this.left + ((nowMs - this.filledMs) / 1_000) * this.perSecond);
    this.filledMs = nowMs;
  }
}

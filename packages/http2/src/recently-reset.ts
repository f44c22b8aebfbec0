/** Ids of streams that we reset: frames for them may still be in flight (RFC 9113 section 5.1). Forgets the oldest. */
export class RecentlyReset {
  private readonly ids = new Set<number>();

  constructor(private readonly idsMax: number) {}

  add(streamId: number): void {
    this.ids.add(streamId);
    if (this.ids.size <= this.idsMax) return;
    const [oldest] = this.ids;
    if (oldest !== undefined) this.ids.delete(oldest);
  }

  /** True if frames for the stream are to be ignored. `isLast`: the client sends no more on it. */
  ignores(streamId: number, isLast: boolean): boolean {
    return isLast ? this.ids.delete(streamId) : this.ids.has(streamId);
  }
}

/** What a call has read takes memory until the response is encoded: then the budget gets it back. */
export class HeldMemory {
  private releases: (() => void)[] = [];

  /** `factor`: how much memory encoding takes for each byte that was read. Default: 1. */
  constructor(readonly factor = 1) {}

  get isEmpty(): boolean {
    return this.releases.length === 0;
  }

  add(release: () => void): void {
    this.releases.push(release);
  }

  /** Releases all of it. */
  release(): void {
    const { releases } = this;
    this.releases = [];
    for (const release of releases) release();
  }
}

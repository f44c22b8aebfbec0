/** What a call has read takes memory until the response is encoded: then the budget gets it back. */
export class HeldMemory {
  private releases: (() => void)[] = [];

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

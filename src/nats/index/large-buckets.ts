/** Buckets whose keys did not fit into memory a short time ago. */

/** How long a bucket is known not to fit. */
const LARGE_MS = 60_000;

export class LargeBuckets {
  /** By stream: when it did not fit. */
  private readonly noted = new Map<string, number>();

  note(stream: string): void {
    this.noted.set(stream, performance.now());
  }

  has(stream: string): boolean {
    return performance.now() - (this.noted.get(stream) ?? -Infinity) < LARGE_MS;
  }

  forget(stream: string): void {
    this.noted.delete(stream);
  }
}

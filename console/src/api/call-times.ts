/** Measures how long calls take: polls use it to limit their share of the service's time. */
const lastMs = new Map<string, number>();

/** A poll waits at least this many times as long as its last call took: it uses at most one per cent of a call's time. */
const IDLE_FACTOR = 100;

export function recordCall(method: string, ms: number): void {
  lastMs.set(method, ms);
}

/** How long to wait before the next call of a poll. */
export function pollIntervalMs(method: string, leastMs: number): number {
  return Math.max(leastMs, (lastMs.get(method) ?? 0) * IDLE_FACTOR);
}

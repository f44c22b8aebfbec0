/** Measures how long calls take: polls use it to limit their share of the service's time. */
const lastMs = new Map<string, number>();

/** A poll waits at least this many times as long as its last call took: it uses at most one per cent of a call's time. */
const IDLE_FACTOR = 100;

/** Which call it is: the same method costs more or less by the fields that it is asked for. */
const nameOf = (method: string, fields: readonly string[]): string => `${method} ${fields.join()}`;

export function recordCall(method: string, message: object, ms: number): void {
  const { readMask } = message as { readonly readMask?: { readonly paths: readonly string[] } };
  lastMs.set(nameOf(method, readMask?.paths ?? []), ms);
}

/** How long to wait before the next call of a poll. `fields`: those of its read mask. */
export function pollIntervalMs(method: string, fields: readonly string[], leastMs: number): number {
  return Math.max(leastMs, (lastMs.get(nameOf(method, fields)) ?? 0) * IDLE_FACTOR);
}

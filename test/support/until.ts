/** Waits for what can only be asked for again: bounded, and with a sentence that says what did not happen. */
import { setTimeout as delay } from "node:timers/promises";

/** What a busy machine needs for what an idle one does at once. */
const TIMEOUT_MS = 60_000;
const INTERVAL_MS = 10;

/** For `vi.waitFor` and `vi.waitUntil`, which give up after a second by default. */
export const WAIT = { timeout: TIMEOUT_MS, interval: INTERVAL_MS };

/** Resolves when `condition` holds. In tests that are not concurrent, `expect.poll` shows the value too. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { timeoutMs = TIMEOUT_MS, intervalMs = INTERVAL_MS } = {},
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs)
      throw new Error(`After ${timeoutMs} ms, it is still not true: ${what}.`);
    await delay(intervalMs);
  }
}

/** Whether a call succeeds, for {@link until}. */
export function succeeds(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => true,
    () => false,
  );
}

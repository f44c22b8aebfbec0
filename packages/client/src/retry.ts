/** When a failed call is tried again: exponential back-off with full jitter, within the call's time. */

/** How calls are retried. Only failures that are `retryable` are; see KvError. */
export interface RetryOptions {
  /** Tries in all, the first included. 1: no retries. Default: 6. */
  readonly attempts?: number;
  /** The first pause is a random part of this, in milliseconds; each further one of twice as much. Default: 100. */
  readonly baseDelayMs?: number;
  /** What the pause grows to, in milliseconds. Default: 3,000. */
  readonly maxDelayMs?: number;
}

export type RetryPolicy = Required<RetryOptions>;

const DEFAULT_POLICY: RetryPolicy = { attempts: 6, baseDelayMs: 100, maxDelayMs: 3_000 };

/** The whole policy; `false` means no retries. Throws RangeError. */
export function retryPolicyOf(options: RetryOptions | false | undefined): RetryPolicy {
  if (options === false) return { ...DEFAULT_POLICY, attempts: 1 };
  const policy = { ...DEFAULT_POLICY, ...options };
  if (!(policy.attempts >= 1) || !(policy.baseDelayMs >= 0) || !(policy.maxDelayMs >= 0)) {
    throw new RangeError("retry takes attempts of 1 or more, and delays of 0 or more milliseconds.");
  }
  return policy;
}

/**
 * The pause after so many failures in a row (1 or more). A random part of the whole span, so that clients cut off together do not come
 * back together; never less than the server asked for.
 */
export function pauseMs(policy: RetryPolicy, failures: number, retryAfterMs: number | undefined): number {
  const span = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failures - 1));
  const pause = Math.random() * span;
  return retryAfterMs === undefined ? pause : retryAfterMs + pause;
}

/** Waits, or until the signal aborts. */
export function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    if (signal?.aborted === true) finish();
    else signal?.addEventListener("abort", finish);
  });
}

/** The retry policy: exponential back-off with full jitter, within the call's time limit. */

/** How failed calls are retried. Applies to errors that are `retryable`; see {@link KvError}. */
export interface RetryOptions {
  /** The number of attempts, including the first. 1: no retries. Default: 6. */
  readonly attempts?: number;
  /** The upper bound of the first delay, in milliseconds. Doubles with each retry; the actual delay is random below it. Default: 100. */
  readonly baseDelayMs?: number;
  /** The upper bound of any delay, in milliseconds. Default: 3,000. */
  readonly maxDelayMs?: number;
}

export type RetryPolicy = Required<RetryOptions>;

const DEFAULT_POLICY: RetryPolicy = { attempts: 6, baseDelayMs: 100, maxDelayMs: 3_000 };

/** The complete policy; `false` means no retries. Throws RangeError. */
export function retryPolicyOf(options: RetryOptions | false | undefined): RetryPolicy {
  if (options === false) return { ...DEFAULT_POLICY, attempts: 1 };
  const policy = { ...DEFAULT_POLICY, ...options };
  if (!(policy.attempts >= 1) || !(policy.baseDelayMs >= 0) || !(policy.maxDelayMs >= 0)) {
    throw new RangeError("retry is invalid; attempts must be 1 or more, and delays 0 or more milliseconds.");
  }
  return policy;
}

/**
 * The delay in milliseconds after `failures` consecutive failures (1 or more), at least `retryAfterMs`. Full jitter spreads the retries
 * of clients that were disconnected together.
 */
export function retryDelayMs(
  policy: RetryPolicy,
  failures: number,
  retryAfterMs: number | undefined,
): number {
  const boundMs = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failures - 1));
  return Math.random() * boundMs + (retryAfterMs ?? 0);
}

/** Waits until the time is up or the signal aborts. */
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

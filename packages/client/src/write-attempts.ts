/**
 * Retries of writes: the headers that identify a retry, and the error to throw in the end.
 *
 * After an attempt with an unknown outcome, retries carry the time of the first attempt by the storage's clock. The service refuses a
 * retry that arrives too late, wherever it was delayed. The client learns that clock from the response to the first such retry, which
 * carries 0: the service only checks whether the write was applied.
 */
import { type KvError, KvUnknownOutcomeError } from "./errors.js";

/** How long the service remembers a write, until a response has the actual window. */
const DEFAULT_WINDOW_MS = 60_000;

/** Reasons of refusals that prove that no earlier attempt was applied. */
const DEFINITIVE_REASONS: ReadonlySet<string> = new Set([
  "key_exists",
  "revision_mismatch",
  "bucket_full",
  "storage_exhausted",
  "idempotency_key_reused",
]);

/** Headers by their lower-case names. */
export type RequestHeaders = Readonly<Record<string, string>>;

/** Generates unique idempotency keys: a random prefix and a counter. */
export class IdempotencyKeys {
  private readonly prefix = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(15))));
  private count = 0;

  next(): string {
    return `${this.prefix}${(this.count++).toString(36)}`;
  }
}

/** The attempts of one call. */
export class WriteAttempts {
  private readonly startedAtMs = performance.now();
  private readonly startedAtDateMs = Date.now();
  private windowMs = DEFAULT_WINDOW_MS;
  /** The earliest possible time of the first attempt by the storage's clock; 0: not known yet. */
  private firstAttemptMs = 0;
  /** The first unknown outcome, if any. */
  private unknownOutcome: KvUnknownOutcomeError | undefined;

  /** `isKeyed`: the request has an idempotency key. `seenRevision`: the bucket's newest revision that the client saw before the call. */
  constructor(
    private readonly isKeyed: boolean,
    private readonly seenRevision: bigint,
  ) {}

  /** Records a failed attempt. Returns whether the call can be retried after the delay. */
  canRetry(failure: KvError, delayMs: number): boolean {
    if (failure instanceof KvUnknownOutcomeError) {
      this.unknownOutcome ??= failure;
      this.windowMs = failure.idempotencyWindowMs ?? this.windowMs;
      if (this.firstAttemptMs === 0 && failure.storageTime !== undefined) {
        this.firstAttemptMs = Math.floor(failure.storageTime.getTime() - this.ageMs());
      }
    } else if (!failure.retryable) {
      return false;
    }
    // The service applies a retry only within half of the window.
    return this.unknownOutcome === undefined || (this.isKeyed && this.ageMs() + delayMs < this.windowMs / 2);
  }

  /** The headers of the next attempt. After an unknown outcome they describe the earlier attempts. */
  headers(base: RequestHeaders, failures: number): RequestHeaders {
    if (this.unknownOutcome === undefined) return base;
    return {
      ...base,
      "grpc-previous-rpc-attempts": failures.toString(),
      "ironflow-first-attempt-time-ms": this.firstAttemptMs.toString(),
      "ironflow-seen-revision": this.seenRevision.toString(),
    };
  }

  /** The error to throw after the last attempt: an earlier attempt may have been applied even if the last one was refused. */
  finalError(failure: KvError): KvError {
    return this.unknownOutcome === undefined || DEFINITIVE_REASONS.has(failure.reason)
      ? failure
      : this.unknownOutcome;
  }

  /** Milliseconds since the first attempt, including the time that the machine slept. */
  private ageMs(): number {
    return Math.max(performance.now() - this.startedAtMs, Date.now() - this.startedAtDateMs);
  }
}

/**
 * Writes that may be sent more than once: how the service tells them from new ones, and what the caller is told in the end.
 *
 * A repeated attempt names the time of the first by the storage's clock, so that the service refuses one that comes too late, wherever it
 * was held up: in a proxy, or in a network that delivers it after the caller gave up. The client learns that clock from the answer to its
 * first repeated attempt, which names no time: the service looks whether the write was applied, and never applies it.
 */
import { type KvError, KvUnknownOutcomeError } from "./errors.js";

/** How long the service remembers a write, in milliseconds, until it says otherwise. */
const WINDOW_MS = 60_000;
/** Refusals that the service only gives once it knows that no earlier attempt was applied. */
const SETTLED = new Set([
  "key_exists",
  "revision_mismatch",
  "bucket_full",
  "storage_exhausted",
  "idempotency_key_reused",
]);

/** Makes idempotency keys that nobody else makes. */
export class IdempotencyKeys {
  private readonly prefix = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(15))));
  private count = 0;

  next(): string {
    return `${this.prefix}${(this.count++).toString(36)}`;
  }
}

/** The attempts of one call. */
export class WriteAttempts {
  private readonly sinceMs = performance.now();
  private readonly sinceDateMs = Date.now();
  private windowMs = WINDOW_MS;
  /** When it was first sent by the storage's clock, at the earliest; 0: not known yet. */
  private firstAttemptMs = 0;
  private unknown: KvUnknownOutcomeError | undefined;

  /** `isKeyed`: sent with an idempotency key. `seenRevision`: one of its bucket that was seen before. */
  constructor(
    private readonly isKeyed: boolean,
    private readonly seenRevision: bigint,
  ) {}

  /** Records a failed attempt; returns whether the call is worth another one after a pause. */
  failed(failure: KvError, pauseMs: number): boolean {
    if (failure instanceof KvUnknownOutcomeError) {
      this.unknown ??= failure;
      this.windowMs = failure.idempotencyWindowMs ?? this.windowMs;
      if (this.firstAttemptMs === 0 && failure.storageTime !== undefined) {
        this.firstAttemptMs = Math.floor(failure.storageTime.getTime() - this.ageMs());
      }
    } else if (!failure.retryable) {
      return false;
    }
    return this.unknown === undefined || (this.isKeyed && this.ageMs() + pauseMs < this.windowMs);
  }

  /** What the next attempt says of the earlier ones. */
  headers(base: Headers, failures: number): Headers {
    if (this.unknown === undefined) return base;
    const headers = new Headers(base);
    headers.set("grpc-previous-rpc-attempts", failures.toString());
    headers.set("ironflow-first-attempt-time-ms", this.firstAttemptMs.toString());
    headers.set("ironflow-seen-revision", this.seenRevision.toString());
    return headers;
  }

  /** What the caller is told: an earlier attempt may have been applied, whatever became of the last. */
  last(failure: KvError): KvError {
    return this.unknown === undefined || SETTLED.has(failure.reason) ? failure : this.unknown;
  }

  /** Milliseconds since the first attempt, also those that the machine slept. */
  private ageMs(): number {
    return Math.max(performance.now() - this.sinceMs, Date.now() - this.sinceDateMs);
  }
}

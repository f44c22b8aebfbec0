/** Writes that may be sent more than once: how the service tells them from new ones, and what the caller is told in the end. */
import { type KvError, KvUnknownOutcomeError } from "./errors.js";

/** How long the service remembers a write, in milliseconds, until it says otherwise. */
const WINDOW_MS = 60_000;
/** The part of that in which a write is sent again: a request may be under way for the rest. */
const WINDOW_FRACTION = 0.5;
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
  private windowMs = WINDOW_MS;
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
    } else if (!failure.retryable) {
      return false;
    }
    return this.unknown === undefined || (this.isKeyed && this.isWithinWindow(pauseMs));
  }

  /** What the next attempt says of the earlier ones. */
  headers(base: Headers, failures: number): Headers {
    if (this.unknown === undefined) return base;
    const headers = new Headers(base);
    headers.set("grpc-previous-rpc-attempts", failures.toString());
    headers.set("ironflow-first-attempt-age-ms", Math.ceil(performance.now() - this.sinceMs).toString());
    headers.set("ironflow-seen-revision", this.seenRevision.toString());
    return headers;
  }

  /** What the caller is told: an earlier attempt may have been applied, whatever became of the last. */
  last(failure: KvError): KvError {
    return this.unknown === undefined || SETTLED.has(failure.reason) ? failure : this.unknown;
  }

  private isWithinWindow(pauseMs: number): boolean {
    return performance.now() + pauseMs - this.sinceMs < this.windowMs * WINDOW_FRACTION;
  }
}

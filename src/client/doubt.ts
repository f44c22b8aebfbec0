/** Writes that may be sent more than once: how the service tells them from new ones, and what is said when all is over. */
import { type KvError, KvUnknownOutcomeError } from "./errors.js";

/** How long a write whose outcome is open is sent again, in milliseconds: half of what the service remembers it for. */
const IN_DOUBT_MS_MAX = 30_000;
/** Refusals that the service only gives once it knows that no earlier sending was applied. */
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

/** The sendings of one call. */
export class Sendings {
  private readonly sinceMs = performance.now();
  private open: KvUnknownOutcomeError | undefined;

  /** `isKeyed`: sent with an idempotency key. `seenRevision`: one of its bucket that was seen before. */
  constructor(
    private readonly isKeyed: boolean,
    private readonly seenRevision: bigint,
  ) {}

  /** Takes note of a sending that failed; returns whether the call is worth another. */
  failed(failure: KvError): boolean {
    if (!(failure instanceof KvUnknownOutcomeError)) return failure.retryable;
    this.open ??= failure;
    return this.isKeyed && performance.now() - this.sinceMs < IN_DOUBT_MS_MAX;
  }

  /** What the next sending says of the earlier ones. */
  headers(base: Headers, failures: number): Headers {
    if (this.open === undefined) return base;
    const headers = new Headers(base);
    headers.set("grpc-previous-rpc-attempts", failures.toString());
    headers.set("ironflow-seen-revision", this.seenRevision.toString());
    return headers;
  }

  /** What the caller is told: an earlier sending may have been applied, whatever became of the last. */
  last(failure: KvError): KvError {
    return this.open === undefined || SETTLED.has(failure.reason) ? failure : this.open;
  }
}

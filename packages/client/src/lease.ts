/**
 * Locks and elections: a key with a TTL, which its holder renews. The client that creates the key holds the lease.
 *
 * The holder trusts its lease only until its TTL, less a margin, has passed since it SENT the last successful renewal, by its own monotonic
 * clock. The storage counts the TTL from a later moment, so it never gives the key to another holder before that, whatever the time of day
 * is on any machine.
 */
import type { Bucket } from "./bucket.js";
import { KvConflictError, KvError, KvLeaseLostError, KvUnknownOutcomeError } from "./errors.js";
import { jsonRevision } from "./json.js";
import { sleep } from "./retry.js";

/** The part of the TTL after which the holder renews, and the part that it does not use: clocks tick differently, timers are late. */
const RENEW_FRACTION = 1 / 3;
const MARGIN_FRACTION = 0.1;
/** After a failed renewal, or a failed attempt to acquire. */
export const RETRY_MS = 200;
/** Distinguishes the holders: the name of a pair of metadata. */
export const HOLDER = "lease-holder";

export interface Held {
  readonly bucket: Bucket;
  readonly name: string;
  readonly holder: string;
  readonly ttlSeconds: number;
  /** The revision of the write that created the key. */
  readonly fencingToken: bigint;
  /** The key's newest revision. */
  readonly revision: bigint;
  /** When the latest successful write was sent, in milliseconds of `performance.now()`. */
  readonly sentMs: number;
}

/** A lock that this client holds, or its leadership. It is renewed until it is released or lost. */
export class Lease {
  readonly name: string;
  /**
   * Grows with each holder. Send it with every request to what the lock protects, which must refuse a smaller one than it has seen: only
   * that protects it from a holder that was suspended and does not know yet that it lost the lock.
   */
  readonly fencingToken: bigint;
  private readonly controller = new AbortController();
  private readonly stopping = new AbortController();
  private revision: bigint;
  private validUntilMs = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly renewing: Promise<void>;

  constructor(private readonly held: Held) {
    this.name = held.name;
    this.fencingToken = held.fencingToken;
    this.revision = held.revision;
    this.extend(held.sentMs);
    this.renewing = this.renew();
  }

  /** Aborted when the lease is lost, with a KvLeaseLostError as its reason: stop the work. Not aborted by `release`. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Whether the lease is held at this moment. Unlike `signal`, it is right even if the event loop was blocked. */
  get isHeld(): boolean {
    return !this.isOver() && performance.now() < this.validUntilMs;
  }

  /** Releases the lease: the next client gets it at once. Does nothing if it is lost. Throws KvError if the service can't be reached. */
  async release(): Promise<void> {
    const wasHeld = this.isHeld;
    this.stop();
    await this.renewing;
    if (!wasHeld) return;
    const { bucket, name, holder } = this.held;
    for (;;) {
      try {
        await bucket.delete(name, { ifRevision: this.revision });
        return;
      } catch (error) {
        // A renewal may have been applied although its response was lost.
        if (!(error instanceof KvConflictError)) throw error;
        const entry = await bucket.tryGet(name);
        if (entry?.metadata[HOLDER] !== holder) return;
        this.revision = entry.revision;
      }
    }
  }

  toJSON(): Record<string, unknown> {
    const { name, fencingToken, isHeld } = this;
    return { name, fencingToken: jsonRevision(fencingToken), isHeld };
  }

  private isOver(): boolean {
    return this.stopping.signal.aborted;
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.stopping.abort();
  }

  private lose(cause: unknown): void {
    if (this.isOver()) return;
    this.stop();
    const { bucket, name } = this.held;
    this.controller.abort(
      new KvLeaseLostError(`The lease ${JSON.stringify(name)} was lost: ${reasonOf(cause)}`, {
        ...{ code: "aborted", reason: "lease_lost", bucket: bucket.name, key: name, cause },
      }),
    );
  }

  private extend(sentMs: number): void {
    this.validUntilMs = validUntilMs(sentMs, this.held.ttlSeconds);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.lose(undefined), this.validUntilMs - performance.now());
  }

  private async renew(): Promise<void> {
    const { signal } = this.stopping;
    const { bucket, name, ttlSeconds } = this.held;
    let waitMs = ttlSeconds * 1_000 * RENEW_FRACTION;
    while (!this.isOver()) {
      try {
        await sleep(waitMs, signal);
        const sentMs = performance.now();
        const timeoutMs = Math.max(1, this.validUntilMs - sentMs);
        const options = { ttlSeconds, ifRevision: this.revision, signal, timeoutMs };
        this.revision = (await bucket.touch(name, options)).revision;
        if (this.isOver()) return;
        this.extend(sentMs);
        waitMs = ttlSeconds * 1_000 * RENEW_FRACTION;
      } catch (error) {
        if (this.isOver()) return;
        waitMs = (await this.isStillOurs(error)) ? RETRY_MS : 0;
      }
    }
  }

  /** After a failed renewal: finds the revision of the key, or loses the lease. */
  private async isStillOurs(failure: unknown): Promise<boolean> {
    const { bucket, name, holder } = this.held;
    const isRetryable = failure instanceof KvError && failure.retryable;
    const isUncertain = failure instanceof KvUnknownOutcomeError || failure instanceof KvConflictError;
    if (!isUncertain) {
      if (!isRetryable) this.lose(failure);
      return isRetryable;
    }
    try {
      const entry = await bucket.tryGet(name, { signal: this.stopping.signal });
      if (entry?.metadata[HOLDER] === holder) {
        this.revision = entry.revision;
        return true;
      }
      this.lose(failure);
      return false;
    } catch {
      // Asked again after the next renewal, which fails for the same reason as this one.
      return true;
    }
  }
}

/** Until when a holder trusts its lease, in milliseconds of `performance.now()`. `sentMs`: when it sent the write. */
export function validUntilMs(sentMs: number, ttlSeconds: number): number {
  return sentMs + ttlSeconds * 1_000 * (1 - MARGIN_FRACTION);
}

function reasonOf(cause: unknown): string {
  if (cause === undefined) return "it could not be renewed in time.";
  return cause instanceof Error ? cause.message : "the renewal failed.";
}

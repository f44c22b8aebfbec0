/**
 * Locks and elections: a key with a TTL, which its holder renews. Whoever creates the key holds the lease.
 *
 * The holder trusts its lease only until its TTL, less a margin, has passed since it SENT the last successful renewal, by its own monotonic
 * clock. The storage counts the TTL from a later moment, so it never gives the key to another holder before that, whatever the time of day
 * is on any machine.
 */
import type { Bucket } from "./bucket.js";
import {
  KvConflictError,
  KvError,
  KvKeyExistsError,
  KvLeaseLostError,
  KvNotFoundError,
  KvOutOfRangeError,
  KvTimeoutError,
  KvUnknownOutcomeError,
} from "./errors.js";
import { jsonRevision } from "./json.js";
import { checkOptions, type OptionNames } from "./options.js";
import { sleep } from "./retry.js";
import type { Storable } from "./value.js";

export interface LeaseOptions {
  /** How long the lease outlives a holder that is gone, in seconds: 1 to 86,400. Default: 15. */
  readonly ttlSeconds?: number | undefined;
  /** What others read at the key, such as the address of the leader. Default: an empty text. */
  readonly value?: Storable | undefined;
  /** Ends the wait for the lease: the call throws the signal's reason. It does not release a lease. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait while another client holds the lease, in milliseconds. 0: not at all. Default: without limit. */
  readonly waitMs?: number | undefined;
}

const LEASE_OPTIONS: OptionNames<LeaseOptions> = {
  ttlSeconds: true,
  value: true,
  signal: true,
  waitMs: true,
};
const DEFAULT_TTL_SECONDS = 15;
const TTL_SECONDS_MAX = 86_400;
/** The part of the TTL after which the holder renews, and the part that it does not use: clocks tick differently, timers are late. */
const RENEW_FRACTION = 1 / 3;
const MARGIN_FRACTION = 0.1;
/** After a failed renewal, or a failed attempt to acquire. */
const RETRY_MS = 200;
/** The longest delay of a JavaScript timer. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Distinguishes the holders: the name of a pair of metadata. */
const HOLDER = "lease-holder";

interface Held {
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
    this.validUntilMs = sentMs + this.held.ttlSeconds * 1_000 * (1 - MARGIN_FRACTION);
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

/** Waits for the lease and returns it. See `Bucket.lock`. */
export async function acquireLease(
  bucket: Bucket,
  method: "lock" | "elect",
  name: string,
  options: LeaseOptions,
): Promise<Lease> {
  checkOptions(options, LEASE_OPTIONS, method);
  const { ttlSeconds = DEFAULT_TTL_SECONDS, value = "", signal, waitMs = Infinity } = options;
  if (!(ttlSeconds >= 1 && ttlSeconds <= TTL_SECONDS_MAX))
    throw new RangeError(`ttlSeconds is ${ttlSeconds}; it must be 1 to ${TTL_SECONDS_MAX}.`);
  const holder = crypto.getRandomValues(new BigUint64Array(2)).join("-");
  const deadlineMs = performance.now() + waitMs;
  const metadata = { [HOLDER]: holder };
  const wait = { hasBegun: false };

  /** Undefined if another client held the lease, and no longer does. */
  const attempt = async (): Promise<Lease | undefined> => {
    const sentMs = performance.now();
    try {
      const { revision } = await bucket.create(name, value, { ttlSeconds, metadata, signal });
      return new Lease({ bucket, name, holder, ttlSeconds, fencingToken: revision, revision, sentMs });
    } catch (error) {
      if (!(error instanceof KvKeyExistsError) && !(error instanceof KvUnknownOutcomeError)) throw error;
    }
    const entry = await bucket.tryGet(name, { signal });
    if (entry === undefined) return undefined;
    wait.hasBegun = true;
    if (entry.metadata[HOLDER] !== holder) {
      await untilRemoved(bucket, name, entry.revision, deadlineMs, signal);
      return undefined;
    }
    // The key is ours: the response to an earlier attempt was lost.
    const renewedMs = performance.now();
    const ifRevision = entry.revision;
    const renewed = await bucket.touch(name, { ttlSeconds, ifRevision, signal }).catch(unlessGone);
    if (renewed === undefined) return undefined;
    const { revision } = renewed;
    return new Lease({
      ...{ bucket, name, holder, ttlSeconds, fencingToken: ifRevision, revision, sentMs: renewedMs },
    });
  };

  for (;;) {
    try {
      const lease = await attempt();
      if (lease !== undefined) return lease;
    } catch (error) {
      // A client that waits outlasts a restart of the service, as its watch does.
      const mayRetry = wait.hasBegun && error instanceof KvError && error.retryable;
      if (!mayRetry || performance.now() >= deadlineMs) throw error;
      await sleep(RETRY_MS, signal);
    }
  }
}

/** Undefined if the key changed or expired meanwhile. */
function unlessGone(error: unknown): undefined {
  if (error instanceof KvConflictError || error instanceof KvNotFoundError) return undefined;
  throw error;
}

/** Waits until the key has no value, by watching it. Throws KvTimeoutError at the deadline, and the signal's reason. */
async function untilRemoved(
  bucket: Bucket,
  name: string,
  revision: bigint,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const controller = new AbortController();
  const end = (): void => controller.abort();
  const timer = setTimeout(end, Math.min(deadlineMs - performance.now(), TIMER_MS_MAX));
  signal?.addEventListener("abort", end);
  if (signal?.aborted === true) end();
  const startRevision = revision + 1n;
  try {
    const options = { startRevision, keysOnly: true, signal: controller.signal };
    for await (const { key, type } of bucket.watch(name, options)) if (key === name && type !== "put") return;
  } catch (error) {
    // Changes after the revision are no longer stored: the key is tried again, and read.
    if (!(error instanceof KvOutOfRangeError)) throw error;
    return;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
  signal?.throwIfAborted();
  if (performance.now() < deadlineMs) return;
  throw new KvTimeoutError(`Another client held the lease ${JSON.stringify(name)} for all of the wait.`, {
    ...{ code: "deadline_exceeded", reason: "lease_held", bucket: bucket.name, key: name, retryable: true },
  });
}

function reasonOf(cause: unknown): string {
  if (cause === undefined) return "it could not be renewed in time.";
  return cause instanceof Error ? cause.message : "the renewal failed.";
}

/** Waits for a lease: creates its key, or watches the key until its holder is gone. */
import type { Bucket } from "./bucket.js";
import {
  KvConflictError,
  KvError,
  KvKeyExistsError,
  KvNotFoundError,
  KvOutOfRangeError,
  KvTimeoutError,
  KvUnknownOutcomeError,
} from "./errors.js";
import { HOLDER, Lease, RETRY_MS, validUntilMs } from "./lease.js";
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
/** The longest delay of a JavaScript timer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

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

  /** Undefined if the lease ended before the response came: the process was suspended, or the service slow. */
  const leaseOf = (fencingToken: bigint, revision: bigint, sentMs: number): Lease | undefined => {
    const nowMs = performance.now();
    if (nowMs < validUntilMs(sentMs, ttlSeconds))
      return new Lease({ bucket, name, holder, ttlSeconds, fencingToken, revision, sentMs });
    if (nowMs < deadlineMs) return undefined;
    const sentence = `The lease ${JSON.stringify(name)} ended before the response of the service came.`;
    throw new KvTimeoutError(sentence, {
      ...{ code: "deadline_exceeded", reason: "deadline_exceeded", bucket: bucket.name, key: name },
    });
  };

  /** Undefined if the lease was held and no longer is, by another client or by this one. */
  const attempt = async (): Promise<Lease | undefined> => {
    const sentMs = performance.now();
    try {
      const { revision } = await bucket.create(name, value, { ttlSeconds, metadata, signal });
      return leaseOf(revision, revision, sentMs);
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
    return leaseOf(ifRevision, renewed.revision, renewedMs);
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

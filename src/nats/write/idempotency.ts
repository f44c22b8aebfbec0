/** Writes that a client may send more than once, with an idempotency key: what makes two of them the same. */
import { createHash } from "node:crypto";
import { invalidArgument, KvError, type KvErrorDetails } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import type { EarlierAttempt, WriteOptions } from "../../kv/writes.js";
import type { CachedBucket } from "../streams/bucket-config-cache.js";
import type { UncertainWrite } from "./write-outcome.js";

/** A write with an idempotency key. */
export interface WriteIdentity {
  /** The id of its message, whatever it writes. */
  readonly messageId: string;
  /** What it asks for: equal for equal requests. */
  readonly fingerprint: string;
  /** Undefined where nothing says that it was sent before. */
  readonly uncertain: UncertainWrite | undefined;
}

/** Holds the fingerprint in the stored message. */
export const REQUEST_HEADER = "Ironflow-Request";

/** Cannot be in an id that a `Writer` makes for itself. */
const ID_PREFIX = "~";
const FINGERPRINT_CHARS = 22;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]+$/;
/** The age of a write that was sent before and does not say when: beyond what gRPC clients usually retry for. */
const ASSUMED_AGE_MS = 15_000;

/** The identity of a write; undefined where it has no idempotency key. `request`: all that it asks for beside its value. */
export function identityOf(
  options: WriteOptions,
  request: readonly unknown[],
  value: Uint8Array,
  limits: Limits,
): WriteIdentity | undefined {
  const { idempotencyKey = "", sentBefore, condition } = options;
  if (idempotencyKey === "") return undefined;
  if (idempotencyKey.length > limits.idempotencyKeyCharsMax || !IDEMPOTENCY_KEY.test(idempotencyKey)) {
    throw invalidArgument(
      `The idempotency key is malformed; it must be 1 to ${limits.idempotencyKeyCharsMax} visible ASCII characters.`,
    );
  }
  const hash = createHash("sha256").update(JSON.stringify(request)).update(value);
  const fingerprint = hash.digest("base64url").slice(0, FINGERPRINT_CHARS);
  // A write on a revision can only be above that one.
  const replaced = typeof condition === "object" ? condition.ifRevision : 0n;
  const uncertain = sentBefore && uncertainOf(sentBefore, replaced);
  return { messageId: ID_PREFIX + idempotencyKey, fingerprint, uncertain };
}

function uncertainOf({ after, ageMs, timeMs }: EarlierAttempt, replaced: bigint): UncertainWrite {
  const isAgeKnown = ageMs !== undefined || timeMs !== undefined;
  return {
    sinceMs: performance.now() - (ageMs ?? (isAgeKnown ? 0 : ASSUMED_AGE_MS)),
    sentMs: timeMs,
    after: replaced > after ? replaced : after,
    created: undefined,
    isAgeKnown,
  };
}

export function keyReused(about: KvErrorDetails, revision?: bigint): KvError {
  return new KvError(
    "idempotency_key_reused",
    "The idempotency key was used for another request in this bucket; use a new one for each request.",
    { ...about, revision },
  );
}

/** What will be known of a write that is sent now. */
export function uncertainNow(facts: CachedBucket): UncertainWrite {
  const { newestSeen, created } = facts;
  return {
    sinceMs: performance.now(),
    sentMs: undefined,
    after: BigInt(newestSeen),
    created,
    isAgeKnown: true,
  };
}

/**
 * Writes that a client may send more than once, with an idempotency key: what makes two of them the same, and those of this process.
 *
 * The storage's memory of message ids decides, for all copies of the service and across their restarts (write-outcome.ts). The memory
 * here makes a second sending wait for the first, and knows a key's request after the entry that it wrote was overwritten.
 */
import { createHash } from "node:crypto";
import { invalidArgument, KvError, type KvErrorFacts } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import type { CallScope, WriteOptions } from "../kv/store.js";
import type { BucketFacts } from "./bucket-facts.js";
import { outcomeUnknown } from "./errors.js";
import type { MessageReader, Place } from "./newest.js";
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
/** About 8 MB with the longest keys. */
const KEYED_WRITES_MAX = 16_384;
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
      `The idempotency key is malformed; it takes 1 to ${limits.idempotencyKeyCharsMax} visible ASCII characters.`,
    );
  }
  const hash = createHash("sha256").update(JSON.stringify(request)).update(value);
  const fingerprint = hash.digest("base64url").slice(0, FINGERPRINT_CHARS);
  // A write on a revision can only be above that one.
  const replaced = typeof condition === "object" ? condition.ifRevision : 0n;
  const uncertain = sentBefore && {
    sinceMs: performance.now() - (sentBefore.ageMs ?? ASSUMED_AGE_MS),
    after: replaced > sentBefore.after ? replaced : sentBefore.after,
    created: undefined,
    isAgeKnown: sentBefore.ageMs !== undefined,
  };
  return { messageId: ID_PREFIX + idempotencyKey, fingerprint, uncertain };
}

export function keyReused(about: KvErrorFacts, revision?: bigint): KvError {
  return new KvError(
    "idempotency_key_reused",
    "The idempotency key was used for another request in this bucket; use a new one for each request.",
    { ...about, revision },
  );
}

interface KeyedWrite {
  readonly fingerprint: string;
  /** What is known of it where its outcome stays unknown. */
  readonly uncertain: UncertainWrite;
  /** The creation time of the stream that it went to. */
  readonly created: string;
  /** When the window is over, in milliseconds of `performance.now()`. */
  readonly untilMs: number;
  /** The bucket's window, in milliseconds. */
  readonly windowMs: number;
  /** Never rejects: undefined where nothing was written, and "unknown" where that is not known. */
  readonly outcome: Promise<bigint | "unknown" | undefined>;
  isRunning: boolean;
}

/** The writes with an idempotency key that this process took within the window. */
export class KeyedWrites {
  /** By stream and message id; the latest last. */
  private readonly byId = new Map<string, KeyedWrite>();

  constructor(private readonly reader: Pick<MessageReader, "stream">) {}

  /**
   * Runs a write, or answers as the same one did before. Throws `idempotency_key_reused`, `outcome_unknown` where the caller's time ends
   * before an earlier sending does, and what the write throws.
   */
  async once(
    place: Place,
    identity: WriteIdentity,
    about: KvErrorFacts,
    readFacts: () => Promise<BucketFacts>,
    scope: CallScope,
    write: (identity: WriteIdentity) => Promise<bigint>,
  ): Promise<bigint> {
    const id = `${place.stream} ${identity.messageId}`;
    let { uncertain } = identity;
    for (;;) {
      const earlier = this.byId.get(id);
      if (earlier === undefined || isOver(earlier)) {
        const facts = await readFacts();
        // Another sending may have begun meanwhile.
        if (this.byId.get(id) === earlier) return this.run(id, { ...identity, uncertain }, facts, write);
        continue;
      }
      const outcome = await within(earlier.outcome, scope);
      if (outcome === "timed_out") throw outcomeUnknown({ ...about, idempotencyWindowMs: earlier.windowMs });
      if (outcome !== undefined) {
        const { created, state } = await this.reader.stream(place, scope);
        const isLost = outcome !== "unknown" && outcome > BigInt(state.last_seq);
        if (created !== earlier.created || isLost) {
          // The bucket was recreated, or the storage came back without its last writes: this one is not in it.
          if (this.byId.get(id) === earlier) this.byId.delete(id);
          continue;
        }
        if (earlier.fingerprint !== identity.fingerprint) {
          throw keyReused(about, outcome === "unknown" ? undefined : outcome);
        }
        if (outcome !== "unknown") return outcome;
        uncertain = earliest(uncertain, earlier.uncertain);
      }
      // Of several that waited, the first to come here runs, and the others wait for it.
      if (this.byId.get(id) === earlier) this.byId.delete(id);
    }
  }

  private run(
    id: string,
    identity: WriteIdentity,
    facts: BucketFacts,
    write: (identity: WriteIdentity) => Promise<bigint>,
  ): Promise<bigint> {
    const uncertain = identity.uncertain ?? uncertainNow(facts);
    const running = write(identity);
    const keyed: KeyedWrite = {
      fingerprint: identity.fingerprint,
      uncertain,
      created: facts.created,
      untilMs: uncertain.sinceMs + facts.windowMs,
      windowMs: facts.windowMs,
      isRunning: true,
      outcome: running
        .then(
          (revision) => (revision === 0n ? undefined : revision),
          (error: unknown) => (isUnknown(error) ? ("unknown" as const) : undefined),
        )
        .finally(() => (keyed.isRunning = false)),
    };
    this.byId.delete(id);
    this.byId.set(id, keyed);
    const [oldest] = this.byId.keys();
    if (this.byId.size > KEYED_WRITES_MAX && oldest !== undefined) this.byId.delete(oldest);
    return running;
  }
}

/** What will be known of a write that is sent now. */
export function uncertainNow(facts: BucketFacts): UncertainWrite {
  const { newestSeen, created } = facts;
  return { sinceMs: performance.now(), after: BigInt(newestSeen), created, isAgeKnown: true };
}

function earliest(first: UncertainWrite | undefined, second: UncertainWrite): UncertainWrite {
  if (first === undefined) return second;
  return { ...first, sinceMs: Math.min(first.sinceMs, second.sinceMs) };
}

function isOver({ isRunning, untilMs }: KeyedWrite): boolean {
  return !isRunning && untilMs < performance.now();
}

function isUnknown(error: unknown): boolean {
  return !(error instanceof KvError) || error.kind === "outcome_unknown";
}

/** The longest that a timer can wait, in milliseconds. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** Waits for an outcome, for as long as the caller does. */
async function within<Outcome>(outcome: Promise<Outcome>, scope: CallScope): Promise<Outcome | "timed_out"> {
  const { deadlineMs, signal } = scope;
  let end = (): void => undefined;
  const over = new Promise<"timed_out">((resolve) => (end = () => resolve("timed_out")));
  const timer = setTimeout(end, Math.min(deadlineMs - performance.now(), TIMEOUT_MS_MAX));
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  try {
    return await Promise.race([outcome, over]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

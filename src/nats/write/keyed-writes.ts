/**
 * The writes with an idempotency key that this process accepted.
 *
 * The storage's memory of message ids decides what was applied, for all copies of the service and across their restarts (write-outcome.ts).
 * The memory here makes a retry wait for the first attempt, and knows a key's request after its entry was overwritten.
 */
import { setTimeout as delay } from "node:timers/promises";
import { KvError, type KvErrorDetails } from "../../kv/errors.js";
import type { CachedBucket } from "../streams/bucket-config-cache.js";
import { outcomeUnknown, toKvError } from "../client/errors.js";
import { keyReused, uncertainNow, type WriteIdentity } from "./idempotency.js";
import type { Requests } from "../client/requests.js";
import { MESSAGE_ID_HEADER } from "../client/messages.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import { isRetryable, RETRY_WAIT_MS } from "../client/retry.js";
import { type CallContext, timeLeftMs } from "../../kv/call-context.js";
import type { UncertainWrite } from "./write-outcome.js";

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

  /** Remembers `countMax` of them at most. */
  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly countMax: number,
  ) {}

  /**
   * Runs a write, or returns the outcome of an earlier attempt. Throws `idempotency_key_reused`, `outcome_unknown` if the deadline expires
   * before the earlier attempt ends, and what the write throws. `remembered`: the sequence that the storage remembers for its id.
   */
  async once(
    place: Place,
    identity: WriteIdentity,
    about: KvErrorDetails,
    readFacts: () => Promise<CachedBucket>,
    remembered: (facts: CachedBucket) => Promise<bigint | undefined>,
    context: CallContext,
    write: (identity: WriteIdentity) => Promise<bigint>,
  ): Promise<bigint> {
    const id = `${place.stream} ${identity.messageId}`;
    for (;;) {
      const earlier = this.byId.get(id);
      let { uncertain } = identity;
      if (earlier !== undefined && !isOver(earlier)) {
        const outcome = await within(earlier.outcome, context);
        if (outcome === "timed_out") throw unknownAfter(earlier, about);
        const isHeld = async (sequence: bigint): Promise<boolean> => {
          const stored = await this.reader.at(place, sequence, context);
          if (stored !== undefined) return stored.headers.get(MESSAGE_ID_HEADER) === identity.messageId;
          if ((await remembered(await readFacts())) === sequence) return true;
          throw unknownAfter(earlier, about);
        };
        if (outcome !== undefined && (await this.mayHold(place, earlier, outcome, isHeld, about, context))) {
          if (earlier.fingerprint !== identity.fingerprint) {
            throw keyReused(about, outcome === "unknown" ? undefined : outcome);
          }
          if (outcome !== "unknown") return outcome;
          uncertain = earliest(uncertain, earlier.uncertain);
        }
      }
      const facts = await readFacts();
      // The earlier one is remembered until this one takes its place. Of several that waited for it, the first to come here runs.
      if (this.byId.get(id) === earlier) return this.run(id, { ...identity, uncertain }, facts, write);
    }
  }

  /**
   * Whether the bucket may have the write: not where it was recreated, or the storage came back without its last writes. Their sequences
   * are given away again. Throws `outcome_unknown` where nothing tells.
   */
  private async mayHold(
    place: Place,
    earlier: KeyedWrite,
    outcome: bigint | "unknown",
    isHeld: (sequence: bigint) => Promise<boolean>,
    about: KvErrorDetails,
    context: CallContext,
  ): Promise<boolean> {
    for (;;) {
      try {
        const { created, state } = await this.reader.stream(place, context);
        if (created !== earlier.created) return false;
        if (outcome === "unknown") return true;
        if (outcome > BigInt(state.last_seq)) return false;
        // A server loses nothing while it runs.
        const isSameRun =
          !this.reader.isClustered && this.requests.serverSinceMs <= earlier.uncertain.sinceMs;
        return isSameRun || (await isHeld(outcome));
      } catch (error) {
        if (!isRetryable(error, context)) {
          const known = toKvError(error, about);
          throw known.kind === "bucket_not_found" ? known : unknownAfter(earlier, about, error);
        }
        await delay(RETRY_WAIT_MS);
      }
    }
  }

  private run(
    id: string,
    identity: WriteIdentity,
    facts: CachedBucket,
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
          (error: unknown) => (isUnknown(error, identity) ? ("unknown" as const) : undefined),
        )
        .finally(() => (keyed.isRunning = false)),
    };
    this.byId.delete(id);
    this.byId.set(id, keyed);
    const [oldest] = this.byId.keys();
    if (this.byId.size > this.countMax && oldest !== undefined) this.byId.delete(oldest);
    return running;
  }
}

function earliest(first: UncertainWrite | undefined, second: UncertainWrite): UncertainWrite {
  if (first === undefined) return second;
  return { ...first, sinceMs: Math.min(first.sinceMs, second.sinceMs) };
}

function unknownAfter({ windowMs }: KeyedWrite, about: KvErrorDetails, cause?: unknown): KvError {
  return outcomeUnknown({ ...about, idempotencyWindowMs: windowMs }, cause);
}

function isOver({ isRunning, untilMs }: KeyedWrite): boolean {
  return !isRunning && untilMs < performance.now();
}

/** Whether a failed write, or an earlier attempt of it, may have been applied. */
function isUnknown(error: unknown, { uncertain }: WriteIdentity): boolean {
  if (!(error instanceof KvError) || error.kind === "outcome_unknown") return true;
  return uncertain !== undefined && !SETTLED.has(error.kind);
}

/** Refusals that prove that no earlier attempt was applied. */
const SETTLED: ReadonlySet<string> = new Set([
  "key_exists",
  "revision_mismatch",
  "bucket_full",
  "storage_exhausted",
  "idempotency_key_reused",
]);

/** Waits for an outcome, for as long as the caller does. */
export async function within<Outcome>(
  outcome: Promise<Outcome>,
  context: CallContext,
): Promise<Outcome | "timed_out"> {
  const { signal } = context;
  let end = (): void => undefined;
  const over = new Promise<"timed_out">((resolve) => (end = () => resolve("timed_out")));
  const timer = setTimeout(end, timeLeftMs(context));
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  try {
    return await Promise.race([outcome, over]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

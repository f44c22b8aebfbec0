/**
 * Writes that a client may send more than once, with an idempotency key: what makes two of them the same, and those seen lately.
 *
 * The storage's memory of message ids is what counts, for all copies of the service and across their restarts. The memory here makes a
 * second sending wait for the first, and knows a key's request also when the entry that it wrote has been written over.
 */
import { createHash } from "node:crypto";
import { invalidArgument, KvError, type KvErrorFacts } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import type { WriteOptions } from "../kv/store.js";

/** A write with an idempotency key. */
export interface WriteIdentity {
  /** The id of its message, whatever it writes. */
  readonly messageId: string;
  /** What it asks for: equal for equal requests. */
  readonly fingerprint: string;
  /** It may have been sent before, and then have got a revision above `after`. */
  readonly sentBefore: { readonly after: bigint } | undefined;
}

/** Holds the fingerprint in the stored message. */
export const REQUEST_HEADER = "Ironflow-Request";

/** Cannot be in an id that a `Writer` makes for itself. */
const ID_PREFIX = "~";
const FINGERPRINT_CHARS = 22;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]+$/;
const RECENT_MAX = 16_384;

/** The identity of a write; undefined where it has no idempotency key. `request`: all that it asks for beside its value. */
export function identityOf(
  options: WriteOptions,
  request: readonly unknown[],
  value: Uint8Array,
  limits: Limits,
): WriteIdentity | undefined {
  const { idempotencyKey = "", sentBefore } = options;
  if (idempotencyKey === "") return undefined;
  if (idempotencyKey.length > limits.idempotencyKeyCharsMax || !IDEMPOTENCY_KEY.test(idempotencyKey)) {
    throw invalidArgument(
      `The idempotency key is malformed; it takes 1 to ${limits.idempotencyKeyCharsMax} visible ASCII characters.`,
    );
  }
  const hash = createHash("sha256").update(JSON.stringify(request)).update(value);
  const fingerprint = hash.digest("base64url").slice(0, FINGERPRINT_CHARS);
  return { messageId: ID_PREFIX + idempotencyKey, fingerprint, sentBefore };
}

export function keyReused(about: KvErrorFacts, revision?: bigint): KvError {
  return new KvError(
    "idempotency_key_reused",
    "The idempotency key was used for another request in this bucket; take a new one for each request.",
    { ...about, revision },
  );
}

interface RecentWrite {
  readonly fingerprint: string;
  readonly untilMs: number;
  /** Never rejects: undefined where the write was refused, and "open" where its outcome is not known. */
  readonly outcome: Promise<bigint | "open" | undefined>;
}

/** The writes with an idempotency key that this process took lately. */
export class RecentWrites {
  private readonly byId = new Map<string, RecentWrite>();

  constructor(private readonly windowMs: number) {}

  /** Runs a write, or answers as the same one did before. Throws `idempotency_key_reused`, and what the write throws. */
  async once(
    stream: string,
    identity: WriteIdentity,
    about: KvErrorFacts,
    write: (identity: WriteIdentity) => Promise<bigint>,
  ): Promise<bigint> {
    const id = `${stream} ${identity.messageId}`;
    let { sentBefore } = identity;
    for (;;) {
      const earlier = this.byId.get(id);
      if (earlier === undefined || earlier.untilMs < performance.now()) break;
      const outcome = await earlier.outcome;
      if (outcome !== undefined && earlier.fingerprint !== identity.fingerprint) {
        throw keyReused(about, outcome === "open" ? undefined : outcome);
      }
      if (typeof outcome === "bigint") return outcome;
      if (outcome === "open") sentBefore ??= { after: 0n };
      // Of several that waited, the first to come here runs, and the others wait for it.
      if (this.byId.get(id) === earlier) break;
    }
    const running = write({ ...identity, sentBefore });
    this.keep(id, {
      fingerprint: identity.fingerprint,
      untilMs: performance.now() + this.windowMs,
      outcome: running.catch((error: unknown) => (isOpen(error) ? "open" : undefined)),
    });
    return running;
  }

  /** A bucket of this name that is made later is another one. */
  forget(stream: string): void {
    for (const id of this.byId.keys()) if (id.startsWith(`${stream} `)) this.byId.delete(id);
  }

  private keep(id: string, write: RecentWrite): void {
    // The latest stand last.
    this.byId.delete(id);
    this.byId.set(id, write);
    if (this.byId.size <= RECENT_MAX) return;
    const [oldest] = this.byId.keys();
    if (oldest !== undefined) this.byId.delete(oldest);
  }
}

function isOpen(error: unknown): boolean {
  return !(error instanceof KvError) || error.kind === "outcome_unknown";
}

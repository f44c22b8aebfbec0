/**
 * One write to a bucket, with an outcome that is always known or said not to be.
 *
 * A write that was sent and not answered (the connection broke, or a leader died) may have been applied. What became of it is found out
 * by earlier-sendings.ts. Where it was not applied, it is sent again with the same message id, on the condition that the key's newest
 * message is still the one that was seen: that makes it harmless that the first one may still be under way. A write that a client sends
 * again takes the same way.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { KvErrorFacts } from "../kv/errors.js";
import type { KvError } from "../kv/errors.js";
import type { CallScope } from "../kv/store.js";
import type { BucketFacts } from "./bucket-facts.js";
import type { DiskRoom } from "./disk-guard.js";
import { type Doubt, EarlierSendings } from "./earlier-sendings.js";
import { JetStreamError, kindOf, outcomeUnknown, toKvError, unavailable } from "./errors.js";
import { REQUEST_HEADER } from "./idempotency.js";
import { parseAnswer } from "./jetstream-api.js";
import { RawHeaders } from "./messages.js";
import { isNoResponders, type MessageReader, type StoredMessage, whyNoResponders } from "./newest.js";
import type { ReadCache } from "./read-cache.js";
import { type Reply, type Requests, Unanswered } from "./requests.js";
import { isUnderWay, isWorthAnotherTry, RETRY_WAIT_MS } from "./settling.js";
import { aboutOf, EXPECTED_HEADER, MESSAGE_ID_HEADER, parseAcknowledgement, type Write } from "./write.js";

/** What a write answers when its condition did not hold. */
export const MISMATCH = Symbol("mismatch");
type Outcome = bigint | typeof MISMATCH;

/** An answer can be lost while our own connection stands: with the leader that owed it, or on the way. */
const ANSWER_TIMEOUT_MS = 2_000;
const ID_PREFIX_BYTES = 9;

export class Writer {
  private readonly idPrefix = randomBytes(ID_PREFIX_BYTES).toString("base64url");
  private idCount = 0;
  private readonly earlier: EarlierSendings;

  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    isClustered: boolean,
    private readonly disk: DiskRoom,
    private readonly cache?: ReadCache,
  ) {
    this.earlier = new EarlierSendings(requests, reader, isClustered);
  }

  /** Writes; returns the revision, or {@link MISMATCH}. Throws `KvError`; `outcome_unknown` where the outcome is not known. */
  write(write: Write, facts: BucketFacts, scope: CallScope): Promise<Outcome> {
    const attempt = (): Promise<Outcome> => this.attempt(write, facts, scope);
    return this.cache === undefined ? attempt() : this.cache.during(write.subject, attempt);
  }

  /**
   * The revision that a write with an idempotency key has from an earlier sending; undefined where it was not applied, or has no key. For
   * who is about to refuse it, or to leave it out, for what the key's newest message is. Throws as {@link write}.
   */
  async appliedBefore(
    write: Write,
    newest: StoredMessage | undefined,
    facts: BucketFacts,
    scope: CallScope,
  ): Promise<bigint | undefined> {
    const { identity } = write;
    if (identity === undefined) return undefined;
    try {
      const { messageId, sentBefore } = identity;
      const sequence = await this.earlier.remembered(write, messageId, facts, scope);
      if (sequence !== undefined) {
        return await this.earlier.checked(write, sequence, sentBefore !== undefined, scope);
      }
      if (sentBefore === undefined) return undefined;
      return await this.earlier.find(write, messageId, newest, doubtOf(write, facts), facts, scope);
    } catch (error) {
      throw toKvError(error, aboutOf(write));
    }
  }

  private async attempt(write: Write, facts: BucketFacts, scope: CallScope): Promise<Outcome> {
    const { identity } = write;
    const about = aboutOf(write);
    const id = identity?.messageId ?? `${this.idPrefix}${(this.idCount++).toString(36)}`;
    if (identity?.sentBefore !== undefined) {
      if (!this.requests.isConnected) throw unavailable(about);
      return this.settle(write, id, doubtOf(write, facts), facts, scope);
    }
    const doubt = { sinceMs: performance.now(), after: facts.newestSeen };
    let reply: Reply;
    try {
      reply = await this.send(write, id, write.expected, scope);
    } catch (error) {
      if (isNoResponders(error)) throw await whyNoResponders(this.requests, write.place, scope, about);
      if (!(error instanceof Unanswered) || !error.sent) throw toKvError(error, about);
      return await this.settle(write, id, doubt, facts, scope);
    }
    try {
      const outcome = await this.accept(reply, write, false, facts, scope);
      if (outcome !== MISMATCH) return outcome;
      return (await this.appliedBefore(write, undefined, facts, scope)) ?? MISMATCH;
    } catch (error) {
      if (!isUnderWay(error)) throw toKvError(error, about);
      return this.settle(write, id, doubtOf(write, facts), facts, scope);
    }
  }

  private send(write: Write, id: string, expected: bigint | undefined, scope: CallScope): Promise<Reply> {
    const condition = expected === undefined ? "" : `${EXPECTED_HEADER}: ${expected.toString()}\r\n`;
    const request =
      write.identity === undefined ? "" : `${REQUEST_HEADER}: ${write.identity.fingerprint}\r\n`;
    const headers = new RawHeaders(
      `${MESSAGE_ID_HEADER}: ${id}\r\n${condition}${request}${write.headerLines}`,
    );
    const deadlineMs = Math.min(scope.deadlineMs, performance.now() + ANSWER_TIMEOUT_MS);
    return this.requests.one(write.subject, write.data, headers, scope, deadlineMs);
  }

  /** Finds out what became of a write that was sent before, and sends it again where that is safe. */
  private async settle(
    write: Write,
    id: string,
    doubt: Doubt,
    facts: BucketFacts,
    scope: CallScope,
  ): Promise<Outcome> {
    const about = aboutOf(write);
    for (;;) {
      try {
        await this.requests.untilConnected(scope);
        const newest = await this.reader.newest(write.place, write.subject, scope);
        const revision = await this.earlier.find(write, id, newest, doubt, facts, scope);
        if (revision !== undefined) return revision;
        const current = newest?.sequence ?? 0n;
        if (write.expected !== undefined && write.expected !== current) return MISMATCH;
        // Nothing is under way to a server that was started since: then a refusal is certain, and a full disk a reason.
        if (this.requests.serverSinceMs > doubt.sinceMs) this.disk.check(write.use, about);
        const reply = await this.send(write, id, current, scope);
        const outcome = await this.accept(reply, write, true, facts, scope);
        if (outcome !== MISMATCH) return outcome;
      } catch (error) {
        if (!isWorthAnotherTry(error, scope)) throw finalError(error, about);
        await delay(RETRY_WAIT_MS);
      }
    }
  }

  /** The revision that an answer names, or {@link MISMATCH}. `isOurs`: the same write was sent before. Throws other refusals. */
  private async accept(
    reply: Reply,
    write: Write,
    isOurs: boolean,
    facts: BucketFacts,
    scope: CallScope,
  ): Promise<Outcome> {
    const acknowledgement = parseAcknowledgement(reply.data);
    if (acknowledgement !== undefined) {
      const { sequence, isDuplicate } = acknowledgement;
      if (isDuplicate) return this.earlier.checked(write, BigInt(sequence), isOurs, scope);
      facts.newestSeen = sequence;
      return BigInt(sequence);
    }
    try {
      parseAnswer(reply.data);
    } catch (error) {
      if (error instanceof JetStreamError && kindOf(error) === "revision_mismatch") return MISMATCH;
      throw error;
    }
    throw new TypeError("an acknowledgement without a sequence");
  }
}

/**
 * A client that sends a write again does so within half the time that the bucket remembers it: the rest is for finding out. The write can
 * only be above the revision that it was to replace.
 */
function doubtOf({ identity, expected = 0n }: Write, facts: BucketFacts): Doubt {
  const after = identity?.sentBefore?.after ?? 0n;
  return {
    sinceMs: performance.now() - facts.windowMs / 2,
    after: Number(after > expected ? after : expected),
  };
}

/** A refusal of the repeated write is final, as the first was not applied; whatever else went wrong leaves the outcome open. */
function finalError(error: unknown, about: KvErrorFacts): KvError {
  const known = toKvError(error, about);
  return REFUSALS.has(known.kind) ? known : outcomeUnknown(about, error);
}

const REFUSALS: ReadonlySet<string> = new Set([
  "outcome_unknown",
  "idempotency_key_reused",
  "bucket_full",
  "value_too_large",
  "storage_exhausted",
]);

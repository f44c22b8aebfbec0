/**
 * One write to a bucket, with an outcome that is always known or said not to be.
 *
 * A write that was sent and not answered (the connection broke, or a leader died) may have been applied: write-outcome.ts finds out. Where
 * it was not applied, it is sent again with the same message id, on the condition that the key's newest message is still the one that was
 * seen: that makes it harmless that the first one may still be under way. A write that a client sends again takes the same way.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { CachedBucket } from "../streams/bucket-config-cache.js";
import type { DiskRoom } from "../embedded/disk-guard.js";
import { JetStreamCode, JetStreamError, kindOf, toKvError, unavailable } from "../client/errors.js";
import { REQUEST_HEADER, uncertainNow } from "./idempotency.js";
import { EXPECTED_HEADER, MESSAGE_ID_HEADER } from "../client/messages.js";
import {
  isNoResponders,
  type MessageReader,
  type StoredMessage,
  whyNoResponders,
} from "../client/message-reader.js";
import type { ReadCache } from "../read/read-cache.js";
import { type Requests, NoReplyError } from "../client/requests.js";
import { within } from "../client/jetstream-api.js";
import { isRetryable, isUnderWay, RETRY_WAIT_MS } from "../client/retry.js";
import type { GroupCommit } from "./group-commit.js";
import {
  type Acknowledgement,
  batchIds,
  type Publication,
  publish,
  type PublicationGroup,
} from "./publication.js";
import { isRollup } from "./tombstone-headers.js";
import { aboutOf, type Write } from "./write.js";
import { type UncertainWrite, unknownOutcome, WriteOutcomes } from "./write-outcome.js";

/** What a write answers when its condition did not hold. */
export const MISMATCH = Symbol("mismatch");
type Outcome = bigint | typeof MISMATCH;

/** An answer can be lost while our own connection stands: with the leader that owed it, or on the way. */
const ANSWER_TIMEOUT_MS = 2_000;
/** Of a short window, a part: the rest is for finding out. */
const ANSWER_TIMEOUT_FRACTION = 0.25;
const ANSWER_TIMEOUT_MS_MIN = 100;
/**
 * Longer than anything takes to arrive that was sent on a connection which then broke: it may lie in a buffer while nats-server is busy. Where the
 * storage remembers ids for less, such an attempt would be stored a second time.
 */
const LATE_ARRIVAL_MS_MAX = 10_000;
/** The part of the window in which an attempt must be sent again, once it is known that the one before it was not applied. */
const REPEAT_FRACTION = 0.5;
const ID_PREFIX_BYTES = 9;

export class Writer {
  private readonly idPrefix = randomBytes(ID_PREFIX_BYTES).toString("base64url");
  private idCount = 0;
  private readonly outcomes: WriteOutcomes;

  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly isClustered: boolean,
    private readonly disk: DiskRoom,
    private readonly cache?: ReadCache,
    /** Absent: each write leaves on its own. */
    private readonly groupCommit?: GroupCommit,
    /** Creates the id of a batch. */
    private readonly batchId: () => string = batchIds(),
  ) {
    this.outcomes = new WriteOutcomes(requests, reader, isClustered);
  }

  /** An id for a message that has no idempotency key. */
  newId(): string {
    return `${this.idPrefix}${(this.idCount++).toString(36)}`;
  }

  /** Writes; returns the revision, or {@link MISMATCH}. Throws `KvError`; `outcome_unknown` where the outcome is not known. */
  write(write: Write, facts: CachedBucket, context: CallContext): Promise<Outcome> {
    const attempt = (): Promise<Outcome> => this.attempt(write, facts, context);
    const { cache } = this;
    if (cache === undefined) return attempt();
    if (write.commit === undefined) return cache.during(write.subject, attempt);
    const during = (run: typeof attempt, subject: string) => () => cache.during(subject, run);
    return write.commit.subjects.reduce(during, attempt)();
  }

  /**
   * The revision of an earlier attempt of a write with an idempotency key; undefined if none was applied, or the write has no key. Callers ask
   * before they refuse or skip a write because of the key's newest message. Throws as {@link write}.
   */
  async appliedBefore(
    write: Write,
    newest: StoredMessage | undefined,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<bigint | undefined> {
    const { identity } = write;
    if (identity === undefined) return undefined;
    try {
      const { messageId, uncertain } = identity;
      if (uncertain !== undefined) {
        return await this.outcomes.find(write, messageId, newest, uncertain, facts, context);
      }
      const sequence = await this.outcomes.remembered(write.subject, messageId, facts, context);
      return sequence === undefined ? undefined : await this.outcomes.checked(write, sequence, context);
    } catch (error) {
      throw toKvError(error, aboutOf(write));
    }
  }

  /** The sequence that the storage remembers for a message id; undefined: it does not. Throws what the request does. */
  remembered(
    subject: string,
    id: string,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<bigint | undefined> {
    return this.outcomes.remembered(subject, id, facts, context);
  }

  private async attempt(write: Write, facts: CachedBucket, context: CallContext): Promise<Outcome> {
    const { identity } = write;
    const about = aboutOf(write);
    const id = identity?.messageId ?? write.commit?.id ?? this.newId();
    if (identity?.uncertain !== undefined) {
      if (!this.requests.isReachable) throw unavailable(about);
      return this.settle(write, id, identity.uncertain, facts, context);
    }
    const uncertain = uncertainNow(facts);
    const group = this.publications(write, id, write.expected, facts);
    try {
      const { groupCommit, requests, batchId } = this;
      const published =
        groupCommit?.publish(write.place, group, facts, context) ??
        publish(requests, group, batchId, context);
      const revision = this.accept(await published, write, facts, context);
      return revision instanceof Promise ? await revision : revision;
    } catch (error) {
      if (isNoResponders(error)) throw await whyNoResponders(this.requests, write.place, context, about);
      if (isUnderWay(error) || isStoredBefore(error) || (error instanceof NoReplyError && error.sent))
        return this.settle(write, id, uncertain, facts, context);
      if (isMismatch(error)) return (await this.appliedBefore(write, undefined, facts, context)) ?? MISMATCH;
      // The event loop was so busy that the attempt was over before it was sent. The caller may have more time.
      const isUnsent = error instanceof NoReplyError && error.reason === "deadline";
      if (isUnsent && performance.now() < context.deadlineMs) return this.attempt(write, facts, context);
      throw toKvError(error, about);
    }
  }

  /** `expected`: in place of the write's own condition. */
  private publications(
    write: Write,
    id: string,
    expected: bigint | undefined,
    { windowMs }: CachedBucket,
  ): PublicationGroup {
    const { place, subject, data, identity, commit } = write;
    const request = identity === undefined ? "" : `${REQUEST_HEADER}: ${identity.fingerprint}\r\n`;
    const idLines = `${MESSAGE_ID_HEADER}: ${id}\r\n${request}`;
    const partMs = Math.max(ANSWER_TIMEOUT_MS_MIN, windowMs * ANSWER_TIMEOUT_FRACTION);
    const answerTimeoutMs = Math.min(ANSWER_TIMEOUT_MS, partMs);
    if (commit !== undefined) {
      return commit.arrange(expected).map((message, index, { length }) => {
        if (index < length - 1) return { ...message, place, answerTimeoutMs };
        const isChecked = message.isChecked || identity !== undefined;
        return { ...message, place, headerLines: idLines + message.headerLines, isChecked, answerTimeoutMs };
      });
    }
    const condition = expected === undefined ? "" : `${EXPECTED_HEADER}: ${expected.toString()}\r\n`;
    const headerLines = idLines + condition + write.headerLines;
    const isChecked = expected !== undefined || identity !== undefined;
    // No spread: this runs for every write.
    const message: Publication = {
      place,
      subject,
      data,
      headerLines,
      isChecked,
      checkedSubject: undefined,
      isRollup: isRollup(write.headerLines),
      answerTimeoutMs,
    };
    return [message];
  }

  /** Finds out what became of a write that was sent before, and sends it again where that is safe. */
  private async settle(
    write: Write,
    id: string,
    uncertain: UncertainWrite,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<Outcome> {
    /** What the last repeated attempt expected of its own key, where a condition refused it. */
    let refused: bigint | undefined;
    /** When this process sent the first attempt that was not answered; undefined if all were. */
    let firstMs = uncertain.created === undefined ? undefined : uncertain.sinceMs;
    for (;;) {
      let sent: { readonly current: bigint; readonly atMs: number } | undefined;
      try {
        await this.requests.untilConnected(context);
        // What is found out now holds only while the storage would know a first attempt that arrives after that: so the next one must not wait.
        const soon = within(context, facts.windowMs * REPEAT_FRACTION);
        const newest = await this.reader.newest(write.place, write.subject, context);
        const revision = await this.outcomes.find(write, id, newest, uncertain, facts, context);
        if (revision !== undefined) return revision;
        const current = newest?.sequence ?? 0n;
        if (write.expected !== undefined && write.expected !== current) return MISMATCH;
        // Another check of the commit does not hold.
        if (write.commit !== undefined && refused === current) return MISMATCH;
        if (firstMs !== undefined && this.mayBeStoredTwice(write, firstMs, facts))
          throw unknownOutcome(write, facts);
        sent = { current, atMs: performance.now() };
        // Nothing is under way to a server that was started since: then a refusal is certain, and a full disk a reason.
        if (this.requests.serverSinceMs > uncertain.sinceMs) this.disk.check(write.use, aboutOf(write));
        const group = this.publications(write, id, current, facts);
        const published = publish(this.requests, group, this.batchId, soon);
        return await this.accept(await published, write, facts, context);
      } catch (error) {
        refused = isMismatch(error) ? sent?.current : undefined;
        if (isMismatch(error) || isStoredBefore(error)) continue;
        firstMs ??= sent?.atMs;
        if (!isRetryable(error, context)) throw finalError(error, write, facts);
        await delay(RETRY_WAIT_MS);
      }
    }
  }

  /**
   * Whether an attempt since `firstMs` may arrive when the storage has forgotten the one that would be sent now, and be stored as well. On a
   * connection that stands, attempts arrive in their order, and none is left of a server that has ended. A revision that an attempt expects is
   * not there any more.
   */
  private mayBeStoredTwice(
    { commit, expected }: Write,
    firstMs: number,
    { windowMs }: CachedBucket,
  ): boolean {
    if (windowMs >= LATE_ARRIVAL_MS_MAX) return false;
    if (commit === undefined && expected !== undefined && expected > 0n) return false;
    if (this.isClustered) return true;
    return this.requests.lostAtMs >= firstMs && this.requests.serverSinceMs <= firstMs;
  }

  /** The revision of an acknowledged write. */
  private accept(
    { sequence, isDuplicate }: Acknowledgement,
    write: Write,
    facts: CachedBucket,
    context: CallContext,
  ): bigint | Promise<bigint> {
    if (isDuplicate) return this.outcomes.checked(write, BigInt(sequence), context);
    facts.newestSeen = sequence;
    return BigInt(sequence);
  }
}

/** Whether a batch was refused because the storage remembers its id. */
function isStoredBefore(error: unknown): boolean {
  return error instanceof JetStreamError && error.code === JetStreamCode.duplicateInBatch;
}

function isMismatch(error: unknown): boolean {
  return error instanceof JetStreamError && kindOf(error) === "revision_mismatch";
}

/** A refusal of the repeated write is final, as the first was not applied; whatever else went wrong leaves the outcome open. */
function finalError(error: unknown, write: Write, facts: CachedBucket): KvError {
  const known = toKvError(error, aboutOf(write));
  return REFUSALS.has(known.kind) ? known : unknownOutcome(write, facts, error);
}

const REFUSALS: ReadonlySet<string> = new Set([
  "outcome_unknown",
  "idempotency_key_reused",
  "bucket_full",
  "value_too_large",
  "storage_exhausted",
]);

/**
 * One write to a bucket, with an outcome that is always known or said not to be.
 *
 * A write that was sent and not answered (the connection broke, or a leader died) may have been applied. JetStream's memory of
 * message ids alone can't settle that: it checks conditions before ids, so that a repeated conditional write that was applied
 * comes back as a mismatch; and after a restart it knows only the ids of messages that are still stored. So the key is read first:
 * - its newest message has our id: the write was applied;
 * - its newest message is no newer than what we knew when we sent: the write was not applied, and is sent again on the condition
 *   that this is still so, which makes it harmless that the first one may still be under way;
 * - somebody else wrote since: ours may be underneath. The outcome is not known.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { KvErrorFacts } from "../kv/errors.js";
import { KvError } from "../kv/errors.js";
import type { CallScope } from "../kv/store.js";
import type { BucketFacts } from "./bucket-facts.js";
import { JetStreamError, kindOf, outcomeUnknown, toKvError } from "./errors.js";
import { parseAnswer } from "./jetstream-api.js";
import { RawHeaders } from "./messages.js";
import { isNoResponders, type MessageReader, type Place, whyNoResponders } from "./newest.js";
import { type Reply, type Requests, Unanswered } from "./requests.js";

/** A message to store. */
export interface Write {
  readonly place: Place;
  readonly subject: string;
  readonly key: string;
  readonly data: Uint8Array;
  /** `Name: value` lines, each ended by CR LF. */
  readonly headerLines: string;
  /** The sequence that the subject's newest message must have; 0 for none; undefined for no condition. */
  readonly expected: bigint | undefined;
}

/** What a write answers when its condition did not hold. */
export const MISMATCH = Symbol("mismatch");

const MESSAGE_ID_HEADER = "Nats-Msg-Id";
const EXPECTED_HEADER = "Nats-Expected-Last-Subject-Sequence";
/** On a cluster an answer is lost with the leader that owed it, though our own connection stands. */
const CLUSTER_ANSWER_TIMEOUT_MS = 2_000;
const RETRY_WAIT_MS = 50;
const ID_PREFIX_BYTES = 9;

export class Writer {
  private readonly idPrefix = randomBytes(ID_PREFIX_BYTES).toString("base64url");
  private idCount = 0;

  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly isClustered: boolean,
  ) {}

  /** Writes; returns the revision, or {@link MISMATCH}. Throws `KvError`; `outcome_unknown` where the outcome is not known. */
  async write(write: Write, facts: BucketFacts, scope: CallScope): Promise<bigint | typeof MISMATCH> {
    const id = `${this.idPrefix}${(this.idCount++).toString(36)}`;
    const newestBefore = facts.newestSeen;
    let reply: Reply;
    try {
      reply = await this.send(write, id, write.expected, scope);
    } catch (error) {
      const about = aboutOf(write);
      if (isNoResponders(error)) throw await whyNoResponders(this.requests, write.place, scope, about);
      if (!(error instanceof Unanswered) || !error.sent) throw toKvError(error, about);
      return await this.settle(write, id, newestBefore, facts, scope);
    }
    return accept(reply, write, facts);
  }

  private send(write: Write, id: string, expected: bigint | undefined, scope: CallScope): Promise<Reply> {
    const condition = expected === undefined ? "" : `${EXPECTED_HEADER}: ${expected.toString()}\r\n`;
    const headers = new RawHeaders(`${MESSAGE_ID_HEADER}: ${id}\r\n${condition}${write.headerLines}`);
    const deadlineMs = this.isClustered
      ? Math.min(scope.deadlineMs, performance.now() + CLUSTER_ANSWER_TIMEOUT_MS)
      : scope.deadlineMs;
    return this.requests.one(write.subject, write.data, headers, scope, deadlineMs);
  }

  /** Finds out what became of a write that was sent and not answered, and sends it again where that is safe. */
  private async settle(
    write: Write,
    id: string,
    newestBefore: number,
    facts: BucketFacts,
    scope: CallScope,
  ): Promise<bigint | typeof MISMATCH> {
    const about = aboutOf(write);
    for (;;) {
      try {
        await this.requests.untilConnected(scope);
        const newest = await this.reader.newest(write.place, write.subject, scope);
        if (newest?.headers.get(MESSAGE_ID_HEADER) === id) return newest.sequence;
        const current = newest?.sequence ?? 0n;
        if (current > newestBefore) throw outcomeUnknown(about);
        if (write.expected !== undefined && write.expected !== current) return MISMATCH;
        const outcome = accept(await this.send(write, id, current, scope), write, facts);
        if (outcome !== MISMATCH) return outcome;
      } catch (error) {
        if (!isWorthAnotherTry(error, scope)) throw finalError(error, about);
        await delay(RETRY_WAIT_MS);
      }
    }
  }
}

/** Whether the storage may answer yet: it is away or starting, and the caller still waits. */
function isWorthAnotherTry(error: unknown, scope: CallScope): boolean {
  if (performance.now() + RETRY_WAIT_MS >= scope.deadlineMs || scope.signal.aborted) return false;
  return error instanceof Unanswered || (error instanceof KvError && error.kind === "unavailable");
}

/** A refusal of the repeated write is final, as the first was not applied; whatever else went wrong leaves the outcome open. */
function finalError(error: unknown, about: KvErrorFacts): KvError {
  if (error instanceof KvError && REFUSALS.has(error.kind)) return error;
  return outcomeUnknown(about, error);
}

const REFUSALS: ReadonlySet<string> = new Set([
  "outcome_unknown",
  "bucket_full",
  "value_too_large",
  "storage_exhausted",
]);

/** The revision that an acknowledgement names, or {@link MISMATCH}. Throws `KvError` for other refusals. */
function accept(reply: Reply, write: Write, facts: BucketFacts): bigint | typeof MISMATCH {
  const { data } = reply;
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1");
  const at = text.indexOf('"seq":');
  if (at > 0 && !text.includes('"error"')) {
    const sequence = Number.parseInt(text.slice(at + '"seq":'.length), 10);
    facts.newestSeen = sequence;
    return BigInt(sequence);
  }
  try {
    parseAnswer(data);
  } catch (error) {
    if (error instanceof JetStreamError && kindOf(error) === "revision_mismatch") return MISMATCH;
    throw toKvError(error, aboutOf(write));
  }
  throw toKvError(new TypeError("an acknowledgement without a sequence"), aboutOf(write));
}

function aboutOf(write: Write): KvErrorFacts {
  return { bucket: write.place.bucket, key: write.key };
}

/**
 * What became of a write that was sent before: by us, without an answer, or by a client that now sends it again.
 *
 * Where the key's newest message has the write's id, it was applied. Where that message is older than the first sending, it was not.
 * Where somebody else wrote since, ours may be underneath: then the storage's memory of message ids is asked. It knows each id that it
 * took within the stream's window, also of messages that were written over since; only a server that was restarted knows no more than
 * the ids of messages that are still stored.
 */
import type { CallScope } from "../kv/store.js";
import type { BucketFacts } from "./bucket-facts.js";
import { JetStreamCode, JetStreamError, kindOf, outcomeUnknown } from "./errors.js";
import { keyReused, REQUEST_HEADER } from "./idempotency.js";
import { parseAnswer } from "./jetstream-api.js";
import { RawHeaders } from "./messages.js";
import type { MessageReader, StoredMessage } from "./newest.js";
import type { Requests } from "./requests.js";
import { aboutOf, EXPECTED_HEADER, MESSAGE_ID_HEADER, parseAcknowledgement, type Write } from "./write.js";

/** What is known of the first sending. */
export interface Doubt {
  /** It was no earlier than this, in milliseconds of `performance.now()`. */
  readonly sinceMs: number;
  /** It can only have a revision above this one. */
  readonly after: number;
}

/** How far the clocks of this machine and the storage's may be apart, in milliseconds. */
const CLOCK_TOLERANCE_MS = 60_000;
/** A condition that no message meets. */
const IMPOSSIBLE_SEQUENCE = Number.MAX_SAFE_INTEGER;
const NO_BYTES = new Uint8Array(0);

export class EarlierSendings {
  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly isClustered: boolean,
  ) {}

  /** The revision of the write; undefined where it was not applied. `newest` is the key's. Throws `outcome_unknown`. */
  async find(
    write: Write,
    id: string,
    newest: StoredMessage | undefined,
    doubt: Doubt,
    facts: BucketFacts,
    scope: CallScope,
  ): Promise<bigint | undefined> {
    if (newest === undefined || newest.sequence <= doubt.after) return undefined;
    if (newest.headers.get(MESSAGE_ID_HEADER) === id) return sequenceOfSame(write, newest);
    const sequence = await this.remembered(write, id, facts, scope);
    if (sequence !== undefined) return this.checked(write, sequence, true, scope);
    if (this.mayHide(newest, doubt, facts)) throw outcomeUnknown(aboutOf(write));
    return undefined;
  }

  /**
   * The sequence that the storage remembers for an id. It is asked by a message that it would refuse: it looks at the id first, and a
   * known one is no refusal. A single server looks at conditions before ids, but at a malformed header after them.
   */
  async remembered(
    write: Write,
    id: string,
    facts: BucketFacts,
    scope: CallScope,
  ): Promise<bigint | undefined> {
    const refused = facts.replicas > 1 ? `${EXPECTED_HEADER}: ${IMPOSSIBLE_SEQUENCE}` : "Nats-Rollup: probe";
    const headers = new RawHeaders(`${MESSAGE_ID_HEADER}: ${id}\r\n${refused}\r\n`);
    const { data } = await this.requests.one(write.subject, NO_BYTES, headers, scope);
    const acknowledgement = parseAcknowledgement(data);
    if (acknowledgement !== undefined) return BigInt(acknowledgement.sequence);
    try {
      parseAnswer(data);
    } catch (error) {
      if (!(error instanceof JetStreamError)) throw error;
      if (error.code !== JetStreamCode.rollupFailed && kindOf(error) !== "revision_mismatch") throw error;
    }
    return undefined;
  }

  /**
   * The sequence, once the message there is known to be of the same request. Where it was written over: `isSame` says that it must be.
   * Throws `idempotency_key_reused`, `outcome_unknown`.
   */
  async checked(write: Write, sequence: bigint, isSame: boolean, scope: CallScope): Promise<bigint> {
    if (write.identity === undefined) return sequence;
    const message = await this.reader.at(write.place, sequence, scope);
    if (message !== undefined) return sequenceOfSame(write, message);
    if (isSame) return sequence;
    throw outcomeUnknown(aboutOf(write));
  }

  /** Whether a message may lie over one of ours that the storage does not remember any more. */
  private mayHide(newest: StoredMessage, doubt: Doubt, facts: BucketFacts): boolean {
    const ageMs = performance.now() - doubt.sinceMs;
    const remembersAll = !this.isClustered && this.requests.serverSinceMs <= doubt.sinceMs;
    if (remembersAll && ageMs <= facts.windowMs) return false;
    return newest.timeMs > Date.now() - ageMs - CLOCK_TOLERANCE_MS;
  }
}

/** Its sequence, if it is of the same request. Throws `idempotency_key_reused`. */
function sequenceOfSame(write: Write, message: StoredMessage): bigint {
  const { identity } = write;
  if (identity === undefined || message.headers.get(REQUEST_HEADER) === identity.fingerprint) {
    return message.sequence;
  }
  throw keyReused(aboutOf(write), message.sequence);
}

/**
 * Finds out whether a write was applied that was sent before: by this process, without an answer, or by a client that sends it again.
 *
 * It was applied where the key's newest message has its id, or where the storage remembers the id. nats-server remembers ids for the
 * stream's duplicate window, also of messages that were overwritten, purged or expired; after a restart only of those still stored
 * (server/stream.go: checkMsgId, purgeMsgIds, rebuildDedupe). That neither has the id proves nothing by itself. It was not applied where
 * - an older message is still the key's newest, or the bucket did not change: messages are removed oldest first; or
 * - the window is not over, and either the server has remembered every id since, or the key has no message at all: no message can expire
 *   within the window, and every other write leaves one, unless its tombstone was compacted.
 * Everything else is `outcome_unknown`.
 */
import { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { CachedBucket } from "../streams/bucket-config-cache.js";
import { JetStreamCode, JetStreamError, kindOf, outcomeUnknown } from "../client/errors.js";
import { keyReused, REQUEST_HEADER } from "./idempotency.js";
import { parseAnswer, serverTimeMs, type StreamConfig, type StreamInfo } from "../client/jetstream-api.js";
import { RawHeaders, EXPECTED_HEADER, MESSAGE_ID_HEADER } from "../client/messages.js";
import type { MessageReader, StoredMessage } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { compactedTimeMs, compactedTo, windowMsOf, windowExtendedAtMs } from "../streams/stream-config.js";
import { parseTimestamp } from "../client/timestamps.js";
import { parseAcknowledgement } from "./publication.js";
import { aboutOf, type Write } from "./write.js";

/** A write that may have been applied. */
export interface UncertainWrite {
  /** It was not sent before this, in milliseconds of `performance.now()`. */
  readonly sinceMs: number;
  /** It can only have a revision above this one. */
  readonly after: bigint;
  /** The creation time of the stream that it was sent to; undefined where a client sent it, which does not know. */
  readonly created: string | undefined;
  /** Nor before this by the storage's clock, in milliseconds since 1970, where a client says so: later than `sinceMs`, or before it. */
  readonly sentMs: number | undefined;
  /** Whether the client knows when it was sent; false: assumed. */
  readonly isAgeKnown: boolean;
}

/** The longest that the clocks of a cluster's servers, or of a server before and after a correction, may be apart, in milliseconds. */
const CLOCK_TOLERANCE_MS = 60_000;
/** The part of the window that counts: for a client's write, half, as its requests may be under way for the rest. */
const OWN_FRACTION = 0.9;
const CLIENT_FRACTION = 0.5;
/** A condition that no message meets. */
const IMPOSSIBLE_SEQUENCE = Number.MAX_SAFE_INTEGER;
const NO_BYTES = new Uint8Array(0);

export class WriteOutcomes {
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
    uncertain: UncertainWrite,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<bigint | undefined> {
    if (newest?.headers.get(MESSAGE_ID_HEADER) === id) return sequenceOfSame(write, newest);
    const sequence = await this.remembered(write.subject, id, facts, context);
    if (sequence !== undefined) return this.checked(write, sequence, context);
    // Asked for last: it shows a window that was cut before the storage was asked for the id.
    const info = await this.reader.stream(write.place, context);
    if (this.wasNotApplied(newest, info, uncertain)) return undefined;
    throw unknownOutcome(write, { windowMs: windowMsOf(info.config), storageTimeMs: serverTimeMs(info) });
  }

  /**
   * The sequence that the storage remembers for an id. It is asked by a message that it would refuse: it looks at the id first, and a
   * known one is no refusal. A single server looks at conditions before ids, but at a malformed header after them.
   */
  async remembered(
    subject: string,
    id: string,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<bigint | undefined> {
    const refused = facts.replicas > 1 ? `${EXPECTED_HEADER}: ${IMPOSSIBLE_SEQUENCE}` : "Nats-Rollup: probe";
    const headers = new RawHeaders(`${MESSAGE_ID_HEADER}: ${id}\r\n${refused}\r\n`);
    const { data } = await this.requests.one(subject, NO_BYTES, headers, context);
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
   * The sequence that the storage remembers for a write's id. Where the message is still stored, it must be of the same request; where it
   * is not, the id stands for the request. Throws `idempotency_key_reused`.
   */
  async checked(write: Write, sequence: bigint, context: CallContext): Promise<bigint> {
    if (write.identity === undefined) return sequence;
    const message = await this.reader.at(write.place, sequence, context);
    return message === undefined ? sequence : sequenceOfSame(write, message);
  }

  /** Whether it is certain that the write was not applied, as neither the key's newest message nor the storage's memory has its id. */
  private wasNotApplied(
    newest: StoredMessage | undefined,
    info: StreamInfo,
    uncertain: UncertainWrite,
  ): boolean {
    const { config, created, state } = info;
    const isOwn = uncertain.created !== undefined;
    if (isOwn && uncertain.created !== created) return false;
    const nowMs = serverTimeMs(info);
    const ageMs = Math.max(performance.now() - uncertain.sinceMs, nowMs - (uncertain.sentMs ?? nowMs));
    const sentMs = nowMs - ageMs;
    // The revision that a client saw may be of an earlier bucket of this name: then the time tells.
    const after = isOwn || uncertain.after <= state.last_seq ? uncertain.after : 0n;
    const precedes = (sequence: bigint, timeMs: number): boolean =>
      sequence <= after && (isOwn || !uncertain.isAgeKnown || timeMs <= sentMs);
    if (precedes(BigInt(state.last_seq), parseTimestamp(state.last_ts).ms)) return true;
    if (newest !== undefined) {
      if (precedes(newest.sequence, newest.timeMs)) return true;
      if (newest.timeMs < sentMs - CLOCK_TOLERANCE_MS) return true;
    }
    if (sentMs - CLOCK_TOLERANCE_MS < windowExtendedAtMs(config)) return false;
    if (ageMs >= windowMsOf(config) * (isOwn ? OWN_FRACTION : CLIENT_FRACTION)) return false;
    const remembersAll = !this.isClustered && this.requests.serverSinceMs <= performance.now() - ageMs;
    if (remembersAll) return true;
    return newest === undefined && config.discard === "new" && !mayBeCompacted(config, after, sentMs);
  }
}

/** Whether compaction may have removed a write that was sent then, with a tombstone that came after it. */
function mayBeCompacted(config: StreamConfig, after: bigint, sentMs: number): boolean {
  if (BigInt(compactedTo(config)) <= after) return false;
  return sentMs - CLOCK_TOLERANCE_MS <= compactedTimeMs(config);
}

/** The outcome of a write is unknown; says what a client needs to send it again with its idempotency key. */
export function unknownOutcome(
  write: Write,
  { windowMs, storageTimeMs }: { readonly windowMs: number; readonly storageTimeMs?: number },
  cause?: unknown,
): KvError {
  const about = aboutOf(write);
  if (write.identity === undefined) return outcomeUnknown(about, cause);
  return outcomeUnknown({ ...about, idempotencyWindowMs: windowMs, storageTimeMs }, cause);
}

/** Its sequence, if it is of the same request. Throws `idempotency_key_reused`. */
function sequenceOfSame(write: Write, message: StoredMessage): bigint {
  const { identity } = write;
  if (identity === undefined || message.headers.get(REQUEST_HEADER) === identity.fingerprint) {
    return message.sequence;
  }
  throw keyReused(aboutOf(write), message.sequence);
}

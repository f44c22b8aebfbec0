/** Publishes messages to a stream, and parses the storage's acknowledgement. */
import { randomBytes } from "node:crypto";
import type { CallContext } from "../../kv/call-context.js";
import { JetStreamCode, JetStreamError, kindOf } from "../client/errors.js";
import { parseAnswer } from "../client/jetstream-api.js";
import { RawHeaders } from "../client/messages.js";
import type { Place } from "../client/message-reader.js";
import { NoReplyError, type QueuedMessage, type QueuedRequest, type Requests } from "../client/requests.js";

/** A message to publish. */
export interface Publication {
  readonly place: Place;
  readonly subject: string;
  readonly data: Uint8Array;
  /** `Name: value` lines, each ended by CR LF. */
  readonly headerLines: string;
  /** Whether the storage may refuse it because of what is stored: it has a condition or an idempotency key. */
  readonly isChecked: boolean;
  /** The subject of its condition, if that is not its own. It may have wildcards. */
  readonly checkedSubject?: string | undefined;
  /** Whether it removes the earlier messages of its subject. */
  readonly isRollup: boolean;
  /** How long to wait for the acknowledgement, in milliseconds. */
  readonly answerTimeoutMs: number;
}

/** Messages that are stored together or not at all: the writes of one call. At least one. */
export type PublicationGroup = readonly Publication[];

export interface Acknowledgement {
  /** That of the last message. Those of its group are consecutive. */
  readonly sequence: number;
  /** Whether a message with this id was stored before, at this sequence. */
  readonly isDuplicate: boolean;
}

const SEQUENCE_MEMBER = '"seq":';
const BATCH_ID_BYTES = 6;

/** Creates ids of batches, unique to this process. */
export function batchIds(): () => string {
  const prefix = randomBytes(BATCH_ID_BYTES).toString("base64url");
  let count = 0;
  return () => `${prefix}${(count++).toString(36)}`;
}

/**
 * Publishes a group, as an atomic batch of this id if it has several messages. Throws {@link JetStreamError} if the storage refuses it, or
 * `NoReplyError`.
 */
export async function publish(
  requests: Requests,
  group: PublicationGroup,
  batchId: () => string,
  context: CallContext,
): Promise<Acknowledgement> {
  const [first] = group;
  if (first !== undefined && group.length === 1) {
    const headers = new RawHeaders(first.headerLines);
    const { subject, data: payload, answerTimeoutMs } = first;
    const { data } = await requests.one(subject, payload, headers, context, undefined, answerTimeoutMs);
    return acknowledgementOf(data);
  }
  if (!requests.isConnected && requests.isReachable) await requests.untilConnected(context);
  const request = requests.queue(context);
  requests.atNextFlush(() => {
    if (requests.isStillWanted(request))
      requests.sendTogether(batchMessages([{ group, request }], batchId()));
  });
  const { data } = await request.reply;
  try {
    return acknowledgementOf(data);
  } catch (error) {
    throw isUncertain(error) ? new NoReplyError("disconnected", true) : error;
  }
}

/** The messages of groups, each with the request that its acknowledgement answers, as one atomic batch (ADR-50). */
export function batchMessages(
  members: readonly { readonly group: PublicationGroup; readonly request: QueuedRequest }[],
  batchId: string,
): QueuedMessage[] {
  const count = members.reduce((sum, { group }) => sum + group.length, 0);
  const messages: QueuedMessage[] = [];
  for (const { group, request: requestOfGroup } of members) {
    const last = group.at(-1);
    for (const message of group) {
      const { subject, data: payload, headerLines, answerTimeoutMs } = message;
      const headers = new RawHeaders(headerLines + batchLines(batchId, messages.length, count));
      const request = message === last ? requestOfGroup : undefined;
      messages.push({ request, subject, payload, headers, answerTimeoutMs });
    }
  }
  return messages;
}

/** The headers of ADR-50. Stored with the message. */
function batchLines(id: string, index: number, count: number): string {
  const commit = index === count - 1 ? "Nats-Batch-Commit: 1\r\n" : "";
  return `Nats-Batch-Id: ${id}\r\nNats-Batch-Sequence: ${index + 1}\r\n${commit}`;
}

/**
 * Whether the storage may have failed in the middle of a batch: as if the answer was lost. A server that does not sync reports that in its
 * answer.
 */
export function isUncertain(error: unknown): boolean {
  if (!(error instanceof JetStreamError)) return false;
  const kind = kindOf(error);
  return kind === "storage_exhausted" || (error.code === JetStreamCode.storeFailed && kind !== "bucket_full");
}

/** The acknowledgement of a message. Throws {@link JetStreamError} if it was refused. */
export function acknowledgementOf(data: Uint8Array): Acknowledgement {
  const acknowledgement = parseAcknowledgement(data);
  if (acknowledgement !== undefined) return acknowledgement;
  parseAnswer(data);
  throw new TypeError("an acknowledgement without a sequence");
}

/** The acknowledgement of a message; undefined if it was refused. Parsed by hand: this runs for every write. */
export function parseAcknowledgement(data: Uint8Array): Acknowledgement | undefined {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1");
  const at = text.indexOf(SEQUENCE_MEMBER);
  if (at < 0 || text.includes('"error"')) return undefined;
  const sequence = Number.parseInt(text.slice(at + SEQUENCE_MEMBER.length), 10);
  if (!Number.isSafeInteger(sequence)) return undefined;
  return { sequence, isDuplicate: text.includes('"duplicate"') };
}

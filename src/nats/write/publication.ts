/** Publishes a message to a stream, and parses the storage's acknowledgement. */
import type { CallContext } from "../../kv/store.js";
import { parseAnswer } from "../client/jetstream-api.js";
import { RawHeaders } from "../client/messages.js";
import type { Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";

/** A message to publish. */
export interface Publication {
  readonly place: Place;
  readonly subject: string;
  readonly data: Uint8Array;
  /** `Name: value` lines, each ended by CR LF. */
  readonly headerLines: string;
  /** Whether the storage may refuse it because of what is stored: it has a condition or an idempotency key. */
  readonly isChecked: boolean;
  /** Whether it removes the earlier messages of its subject. */
  readonly isRollup: boolean;
  /** How long to wait for the acknowledgement, in milliseconds. */
  readonly answerTimeoutMs: number;
}

export interface Acknowledgement {
  readonly sequence: number;
  /** Whether a message with this id was stored before, at this sequence. */
  readonly isDuplicate: boolean;
}

const SEQUENCE_MEMBER = '"seq":';

/** Publishes a message. Throws {@link JetStreamError} if the storage refuses it, or `NoReplyError`. */
export async function publish(
  requests: Requests,
  message: Publication,
  context: CallContext,
): Promise<Acknowledgement> {
  const headers = new RawHeaders(message.headerLines);
  const { subject, data: payload, answerTimeoutMs } = message;
  const { data } = await requests.one(subject, payload, headers, context, undefined, answerTimeoutMs);
  return acknowledgementOf(data);
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

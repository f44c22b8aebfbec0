/** A write as a message, and the storage's answer to it. */
import type { KvErrorDetails } from "../../kv/errors.js";
import type { DiskUse } from "../embedded/disk-guard.js";
import type { WriteIdentity } from "./idempotency.js";
import type { Place } from "../client/message-reader.js";

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
  /** Undefined where the client gave no idempotency key. */
  readonly identity: WriteIdentity | undefined;
  readonly use: DiskUse;
}

export interface Acknowledgement {
  readonly sequence: number;
  /** Whether a message with this id was stored before, at this sequence. */
  readonly isDuplicate: boolean;
}

/** The acknowledgement of a message; undefined where the answer is none. By hand: this is done for every write. */
export function parseAcknowledgement(data: Uint8Array): Acknowledgement | undefined {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1");
  const at = text.indexOf(SEQUENCE_MEMBER);
  if (at < 0 || text.includes('"error"')) return undefined;
  const sequence = Number.parseInt(text.slice(at + SEQUENCE_MEMBER.length), 10);
  if (!Number.isSafeInteger(sequence)) return undefined;
  return { sequence, isDuplicate: text.includes('"duplicate"') };
}

const SEQUENCE_MEMBER = '"seq":';

/** What an error of a write says of it. */
export function aboutOf(write: Write): KvErrorDetails {
  return { bucket: write.place.bucket, key: write.key };
}

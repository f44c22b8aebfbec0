/** A write as a message. */
import type { KvErrorDetails } from "../../kv/errors.js";
import type { DiskUse } from "../embedded/disk-guard.js";
import type { WriteIdentity } from "./idempotency.js";
import type { Place } from "../client/message-reader.js";
import type { Publication } from "./publication.js";

/** A message to store. Of a commit: its last message, whose ID and sequence identify the commit. */
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
  /** Absent: the message is stored alone. */
  readonly commit?: CommitMessages | undefined;
}

/** The messages of a commit. */
export interface CommitMessages {
  /** The id of the last message where the client gave no idempotency key: the same for each attempt. */
  readonly id: string;
  /** Every subject that the commit writes. */
  readonly subjects: readonly string[];
  /** The messages in order, without the id. `expected`: the sequence that the last one's subject must have, in place of its condition. */
  arrange(expected: bigint | undefined): readonly CommitMessage[];
}

/** A message of a commit. */
export interface CommitMessage extends Pick<Publication, "subject" | "data" | "headerLines" | "isRollup"> {
  readonly isChecked: boolean;
  readonly checkedSubject: string | undefined;
}

/** What an error of a write says of it. */
export function aboutOf(write: Write): KvErrorDetails {
  const { bucket } = write.place;
  return write.commit === undefined ? { bucket, key: write.key } : { bucket };
}

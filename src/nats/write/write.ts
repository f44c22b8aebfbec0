/** A write as a message. */
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

/** What an error of a write says of it. */
export function aboutOf(write: Write): KvErrorDetails {
  return { bucket: write.place.bucket, key: write.key };
}

/** Headers of tombstones. */
import { LIFETIME_HEADER } from "../streams/lifetime.js";
import { MARKER_REASON_HEADER, OPERATION_HEADER } from "../streams/records.js";

/** The reason keeps the storage from leaving an expiry marker when the tombstone ages out (nats-server 2.15, `isSubjectDeleteMarker`). */
export const DELETE_LINE = `${OPERATION_HEADER}: DEL\r\n${MARKER_REASON_HEADER}: Remove\r\n`;
/** What a delete's fingerprint is made of. Fixed: copies of the service of different versions compare it. */
export const REQUEST_DELETE_LINE = `${OPERATION_HEADER}: DEL\r\n`;
/** Follows {@link DELETE_LINE} where `CachedBucket.keepsTombstones`. */
export const NO_EXPIRY_LINE = `${LIFETIME_HEADER}: never\r\n`;
/** Removes the earlier messages of the subject. */
export const ROLLUP_LINE = "Nats-Rollup: sub\r\n";
/** Whether a message with these headers removes the earlier ones of its subject: the line is the last one then. */
export function isRollup(headerLines: string): boolean {
  return headerLines.endsWith(ROLLUP_LINE);
}

export const PURGE_LINES = `${OPERATION_HEADER}: PURGE\r\n${ROLLUP_LINE}`;

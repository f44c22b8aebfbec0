/**
 * Encodes a ScanResponse from the scan's entries, without a message for each. A scan returns hundreds of thousands of entries a second: converting
 * them to messages and walking their descriptors took more time than everything else. The output is byte for byte that of the compiled encoder,
 * which a property test checks.
 */
import type { Entry } from "../../kv/entry.js";
import type { ScanPart } from "../../kv/reads.js";
import { scanPartOf } from "../../service/scan-stream.js";
import {
  endMessage,
  messageTag,
  tagOf,
  writeEntry,
  writeNumber,
  writer,
  writeRevision,
  writeTime,
} from "./entry-encoder.js";

/** The tags of ScanResponse. */
const ENTRIES = messageTag(1);
const REVISION = tagOf(2);
const END = messageTag(3);
/** Of ScanResponse.End. */
const COMPLETE = tagOf(1);
const BUCKET_CREATED_AT = messageTag(2);

/** Encodes a message of a scan after `headBytes` free bytes; undefined if it is not one. */
export function encodeScan(message: object, headBytes: number): Buffer | undefined {
  const part = scanPartOf(message);
  if (part === undefined) return undefined;
  writer.reset();
  writePart(part);
  return writer.take(headBytes);
}

function writePart({ entries, revision, end }: ScanPart): void {
  if (end !== undefined) {
    const after = writer.length;
    writeTime(BUCKET_CREATED_AT, end.bucketCreatedAtMs, 0);
    if (end.isComplete) writeNumber(COMPLETE, 1);
    endMessage(END, after);
  }
  if (revision !== 0n) writeRevision(REVISION, revision);
  for (let index = entries.length - 1; index >= 0; index--) writeEntry(ENTRIES, entries[index] as Entry);
}

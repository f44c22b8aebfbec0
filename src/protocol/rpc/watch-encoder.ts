/**
 * Encodes the changes of a watch from their events, without messages. A snapshot of a large bucket has hundreds of thousands of them, each of which would
 * take four messages. The output is byte for byte that of the compiled encoder, which a property test checks.
 */
import { changeOf } from "../../service/watch-stream.js";
import { endMessage, messageTag, tagOf, writeEntry, writer, writeRevision } from "./entry-encoder.js";

/** The tags of WatchResponse. */
const CHANGE = messageTag(1);
const SUPERSEDED = tagOf(4);
/** Of WatchResponse.Change. */
const ENTRY = messageTag(1);
const PREVIOUS = messageTag(2);
const COMMIT_REVISION = tagOf(3);

/** Encodes a change after `headBytes` free bytes; undefined if the message is not one. */
export function encodeChange(message: object, headBytes: number): Buffer | undefined {
  const change = changeOf(message);
  if (change === undefined) return undefined;
  const { entry, previous, superseded = 0 } = change;
  writer.reset();
  if (superseded > 0) writeRevision(SUPERSEDED, BigInt(superseded));
  const after = writer.length;
  const { commitRevision = 0n } = entry;
  if (commitRevision > 0n) writeRevision(COMMIT_REVISION, commitRevision);
  if (previous !== undefined) writeEntry(PREVIOUS, previous);
  writeEntry(ENTRY, entry);
  endMessage(CHANGE, after);
  return writer.take(headBytes);
}

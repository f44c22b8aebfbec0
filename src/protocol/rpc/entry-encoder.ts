/** Encodes entries without messages of them, for responses that have many. Byte for byte as the library encodes the messages. */
import type { Entry } from "../../kv/entry.js";
import { operationNumber } from "../../service/convert.js";
import { BackwardWriter } from "./backward-writer.js";

const LENGTH_DELIMITED = 2;
/** The tags of Entry. */
const KEY = tagOf(1, LENGTH_DELIMITED);
const VALUE = tagOf(2, LENGTH_DELIMITED);
const ENTRY_REVISION = tagOf(3);
const CREATED_AT = tagOf(4, LENGTH_DELIMITED);
const OPERATION = tagOf(5);
const CONTENT_TYPE = tagOf(6, LENGTH_DELIMITED);
const EXPIRES_AT = tagOf(7, LENGTH_DELIMITED);
const METADATA = tagOf(8, LENGTH_DELIMITED);
/** Of a pair of a map. */
const PAIR_KEY = tagOf(1, LENGTH_DELIMITED);
const PAIR_VALUE = tagOf(2, LENGTH_DELIMITED);
/** Of google.protobuf.Timestamp. */
const SECONDS = tagOf(1);
const NANOS = tagOf(2);

/** Encoding is synchronous, so all calls share one writer. */
export const writer = new BackwardWriter();

/** The tag of a message. */
export function messageTag(field: number): number {
  return tagOf(field, LENGTH_DELIMITED);
}

export function writeEntry(tag: number, entry: Entry): void {
  const { key, value, contentType, createdAtMs, createdAtNanos, expiresAtMs, metadata } = entry;
  const after = writer.length;
  if (metadata !== undefined)
    for (const [name, text] of Object.entries(metadata).reverse()) writePair(name, text);
  if (expiresAtMs !== undefined) writeTime(EXPIRES_AT, expiresAtMs, createdAtNanos);
  if (contentType !== "") writeText(CONTENT_TYPE, contentType);
  writeNumber(OPERATION, operationNumber(entry.operation));
  writeTime(CREATED_AT, createdAtMs, createdAtNanos);
  if (entry.revision !== 0n) writeRevision(ENTRY_REVISION, entry.revision);
  if (value.length > 0) {
    writer.bytes(value);
    writeNumber(VALUE, value.length);
  }
  if (key !== "") writeText(KEY, key);
  endMessage(tag, after);
}

function writePair(name: string, text: string): void {
  const after = writer.length;
  writeText(PAIR_VALUE, text);
  writeText(PAIR_KEY, name);
  endMessage(METADATA, after);
}

/** See `timestampOf`. */
export function writeTime(tag: number, timeMs: number, nanosWithinMs: number): void {
  const after = writer.length;
  const seconds = Math.floor(timeMs / 1_000);
  const nanos = (timeMs - seconds * 1_000) * 1_000_000 + nanosWithinMs;
  if (nanos !== 0) writeNumber(NANOS, nanos);
  if (seconds > 0) {
    writer.safeVarint(seconds);
    writer.varint(SECONDS);
  } else if (seconds < 0) writeRevision(SECONDS, BigInt(seconds));
  endMessage(tag, after);
}

function writeText(tag: number, text: string): void {
  const after = writer.length;
  writer.string(text);
  endMessage(tag, after);
}

export function writeRevision(tag: number, revision: bigint): void {
  const number = Number(revision);
  if (number >= 0 && Number.isSafeInteger(number)) writer.safeVarint(number);
  else writer.bigVarint(revision);
  writer.varint(tag);
}

/** A number below 2^32, or the length of what was written before. */
export function writeNumber(tag: number, number: number): void {
  writer.varint(number);
  writer.varint(tag);
}

/** Writes the length of what was written since, and the tag. */
export function endMessage(tag: number, after: number): void {
  writeNumber(tag, writer.length - after);
}

/** `wireType`: by default that of a number. */
export function tagOf(field: number, wireType = 0): number {
  return (field << 3) | wireType;
}

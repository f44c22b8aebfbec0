/**
 * Encodes header blocks: HPACK, RFC 7541. Leaves the peer's dynamic table empty: no block depends on another, and the encoded bytes of a field can be
 * reused.
 */
import { OF_CONNECTIONS } from "./request-fields.js";
import type { Fields } from "./stream-events.js";
import { STATIC_INDEX, STATIC_NAMES, STATIC_VALUES } from "./static-table.js";

/** Section 6.2.2: a literal without indexing, and the bits of its first byte that hold the index of its name. */
const INDEX_MASK = 0x0f;
/** Section 6.2.3: intermediaries must not index the field either. */
const NEVER_INDEXED = 0x10;
const LENGTH_MASK = 0x7f;
/** The longest encoded integer. */
const INTEGER_BYTES_MAX = 5;
/** Fields whose values could be guessed from the compressed size (section 7.1.3). */
const SECRET_NAMES = new Set(["set-cookie", "authorization"]);

/** Fields with few distinct values: their encoded bytes are cached. */
const KEPT_NAMES = new Set([
  "content-type",
  "date",
  "grpc-status",
  "grpc-accept-encoding",
  "accept-encoding",
  "vary",
  "cache-control",
  "access-control-allow-origin",
  "access-control-expose-headers",
]);

interface KnownName {
  /** The first byte, and the name where it has no index. */
  readonly head: Buffer;
  readonly isKept: boolean;
  lastValue: string | undefined;
  lastBytes: Buffer;
}

const names = new Map<string, KnownName>();
/** Bounds the cache if a handler invents names. */
const NAMES_MAX = 1_000;

const statusBytes = new Map<number, Buffer>();

/** RFC 9113 section 8.2.1. White space around a response value is harmless. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** Throws a TypeError for a field that HTTP/2 cannot carry. */
export function checkField(name: string, value: string): void {
  if (!names.has(name) && (!NAME.test(name) || OF_CONNECTIONS.has(name))) {
    throw new TypeError(`HTTP/2 cannot carry a field with the name ${JSON.stringify(name)}.`);
  }
  if (BAD_VALUE.test(value))
    throw new TypeError(`The field ${name} has a value with characters that HTTP/2 cannot carry.`);
}

/** An upper bound of a field's encoded size. */
export function fieldBytesMax(name: string, value: string): number {
  return 1 + 2 * INTEGER_BYTES_MAX + name.length + value.length;
}

/** An upper bound of the encoded size of all fields. */
export function blockBytesMax(fields: Fields): number {
  let bytes = 0;
  for (const name in fields) bytes += fieldBytesMax(name, fields[name] ?? "");
  return bytes;
}

/** Writes `:status`, at most {@link STATUS_BYTES_MAX} bytes, and returns its end. */
export function writeStatus(status: number, buffer: Buffer, at: number): number {
  let bytes = statusBytes.get(status);
  if (bytes === undefined) {
    bytes = statusField(status);
    statusBytes.set(status, bytes);
  }
  buffer.set(bytes, at);
  return at + bytes.length;
}

export const STATUS_BYTES_MAX = 5;

/** Writes a field and returns its end. Throws a TypeError for a field that HTTP/2 cannot carry. */
export function writeField(name: string, value: string, buffer: Buffer, at: number): number {
  const known = names.get(name) ?? addName(name);
  if (known.lastValue === value) {
    buffer.set(known.lastBytes, at);
    return at + known.lastBytes.length;
  }
  checkField(name, value);
  const { head } = known;
  buffer.set(head, at);
  const end = writeText(value, buffer, at + head.length);
  if (known.isKept) {
    known.lastBytes = Buffer.from(buffer.subarray(at, end));
    known.lastValue = value;
  }
  return end;
}

/** Writes all fields like {@link writeField}. */
export function writeFields(fields: Fields, buffer: Buffer, at: number): number {
  for (const name in fields) at = writeField(name, fields[name] ?? "", buffer, at);
  return at;
}

function addName(name: string): KnownName {
  checkField(name, "");
  const index = STATIC_INDEX.get(name) ?? 0;
  const buffer = Buffer.alloc(fieldBytesMax(name, ""));
  let end = writeInteger(index, INDEX_MASK, SECRET_NAMES.has(name) ? NEVER_INDEXED : 0, buffer, 0);
  if (index === 0) end = writeText(name, buffer, end);
  const known = {
    head: buffer.subarray(0, end),
    isKept: KEPT_NAMES.has(name),
    lastValue: undefined,
    lastBytes: buffer,
  };
  if (names.size >= NAMES_MAX) names.clear();
  names.set(name, known);
  return known;
}

function statusField(status: number): Buffer {
  const value = String(status);
  const index = STATIC_NAMES.findIndex((name, at) => name === ":status" && STATIC_VALUES[at] === value);
  // Section 6.1: an indexed field.
  if (index >= 0) return Buffer.from([0x80 | (index + 1)]);
  const buffer = Buffer.alloc(STATUS_BYTES_MAX);
  const end = writeInteger(STATIC_INDEX.get(":status") ?? 0, INDEX_MASK, 0, buffer, 0);
  return buffer.subarray(0, writeText(value, buffer, end));
}

/** Section 5.2, without the Huffman code: it costs more than the bytes that it saves. */
function writeText(text: string, buffer: Buffer, at: number): number {
  const start = writeInteger(text.length, LENGTH_MASK, 0, buffer, at);
  return start + buffer.write(text, start, "latin1");
}

/** Section 5.1. */
function writeInteger(value: number, mask: number, firstBits: number, buffer: Buffer, at: number): number {
  if (value < mask) {
    buffer[at] = firstBits | value;
    return at + 1;
  }
  buffer[at++] = firstBits | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    buffer[at++] = 0x80 | (rest & 0x7f);
    rest >>>= 7;
  }
  buffer[at++] = rest;
  return at;
}

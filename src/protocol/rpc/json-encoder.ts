/**
 * Writers of protobuf's JSON made once for each message type: https://protobuf.dev/programming-guides/json/
 *
 * They know what most messages are made of; for the rest (maps, durations, wrappers, fractions, values of the wrong type) the library does
 * it. Either way the text is the library's: a property test holds that.
 */
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import type { Message } from "./codec.js";
import { FieldReader, fieldsOf, UNFORESEEN } from "./field-reader.js";

/** The message as JSON; undefined where the library has to write it, or would refuse. */
export type JsonEncoder = (message: Message) => string | undefined;

/** Writes a value that is set. */
type WriteValue = (value: unknown) => string;

const TIMESTAMP = "google.protobuf.Timestamp";
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds: what the JSON form has room for. */
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;
const NANOS_MAX = 999_999_999;

export function createJsonEncoder(desc: DescMessage): JsonEncoder {
  if (!isPlain(desc, new Set())) return () => undefined;
  const write = messageWriter(desc, new Map());
  return (message) => {
    try {
      return write(message);
    } catch (error) {
      if (error === UNFORESEEN) return undefined;
      throw error;
    }
  };
}

/** Whether nothing in the type needs the library, however deep. */
function isPlain(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(desc) || desc.typeName === TIMESTAMP) return true;
  seen.add(desc);
  if (desc.typeName.startsWith("google.protobuf.")) return false;
  return desc.fields.every((field) => {
    if (field.presence === Presence.LEGACY_REQUIRED || field.fieldKind === "map") return false;
    if (field.message !== undefined) return isPlain(field.message, seen);
    return field.enum !== undefined || field.scalar in SCALAR_WRITERS;
  });
}

function messageWriter(desc: DescMessage, known: Map<DescMessage, WriteValue>): WriteValue {
  const before = known.get(desc);
  if (before !== undefined) return before;
  const fields: ((message: Readonly<Record<string, unknown>>) => string | undefined)[] = [];
  const write: WriteValue = (message) => {
    const values = fieldsOf(message, desc);
    let text = "";
    for (const field of fields) {
      const member = field(values);
      if (member !== undefined) text += text === "" ? member : `,${member}`;
    }
    return `{${text}}`;
  };
  // Before the fields: a message may hold others of its own type.
  known.set(desc, write);
  for (const field of [...desc.fields].sort((left, right) => left.number - right.number))
    fields.push(memberWriter(field, known));
  return write;
}

function memberWriter(
  field: DescField,
  known: Map<DescMessage, WriteValue>,
): (message: Readonly<Record<string, unknown>>) => string | undefined {
  const reader = new FieldReader(field);
  const write = valueWriter(field, known);
  const name = `${JSON.stringify(field.jsonName)}:`;
  return (message) => {
    const value = reader.read(message);
    if (value === undefined) return undefined;
    return name + (reader.isList ? `[${(value as readonly unknown[]).map(write).join(",")}]` : write(value));
  };
}

function valueWriter(field: DescField, known: Map<DescMessage, WriteValue>): WriteValue {
  if (field.message?.typeName === TIMESTAMP) return writeTimestamp;
  if (field.message !== undefined) return messageWriter(field.message, known);
  if (field.enum !== undefined) return enumWriter(field.enum);
  const write = SCALAR_WRITERS[field.scalar];
  if (write === undefined) throw new Error(`${field.toString()} is not plain`);
  return write;
}

/** A name, or the number where it has none. */
function enumWriter(desc: DescEnum): WriteValue {
  const names = new Map(desc.values.map(({ number, name }) => [number, JSON.stringify(name)]));
  return (value) => {
    if (typeof value !== "number") throw UNFORESEEN;
    return names.get(value) ?? wholeNumber(value);
  };
}

/** RFC 3339 in UTC, with as many groups of three digits as the fraction has. */
function writeTimestamp(value: unknown): string {
  const { seconds, nanos } = value as { readonly seconds?: unknown; readonly nanos?: unknown };
  if (typeof seconds !== "bigint" || seconds < SECONDS_MIN || seconds > SECONDS_MAX) throw UNFORESEEN;
  if (typeof nanos !== "number" || !Number.isInteger(nanos) || nanos < 0 || nanos > NANOS_MAX)
    throw UNFORESEEN;
  const whole = new Date(Number(seconds) * 1_000).toISOString().slice(0, -".000Z".length);
  if (nanos === 0) return `"${whole}Z"`;
  let fraction = nanos.toString().padStart(9, "0");
  while (fraction.endsWith("000")) fraction = fraction.slice(0, -3);
  return `"${whole}.${fraction}Z"`;
}

function wholeNumber(value: unknown): string {
  if (typeof value !== "number" || !Number.isInteger(value)) throw UNFORESEEN;
  return JSON.stringify(value);
}

function longNumber(value: unknown): string {
  if (typeof value !== "bigint") throw UNFORESEEN;
  return `"${value}"`;
}

const SCALAR_WRITERS: Readonly<Partial<Record<ScalarType, WriteValue>>> = {
  [ScalarType.STRING](value) {
    if (typeof value !== "string") throw UNFORESEEN;
    return JSON.stringify(value);
  },
  [ScalarType.BYTES](value) {
    if (!(value instanceof Uint8Array)) throw UNFORESEEN;
    return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64")}"`;
  },
  [ScalarType.BOOL](value) {
    if (typeof value !== "boolean") throw UNFORESEEN;
    return value ? "true" : "false";
  },
  [ScalarType.INT32]: wholeNumber,
  [ScalarType.UINT32]: wholeNumber,
  [ScalarType.INT64]: longNumber,
  [ScalarType.UINT64]: longNumber,
};

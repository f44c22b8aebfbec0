/**
 * ProtoJSON writers compiled once per message type: https://protobuf.dev/programming-guides/json/
 *
 * They support the common field types; the library encodes the rest (maps of other types, durations, wrappers, fractions, values of the wrong type). The
 * output is the library's, which a property test checks.
 */
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import type { LargeValues } from "../large-values.js";
import type { Message } from "./codec.js";
import { FieldReader, fieldsOf, isTextMap, UNSUPPORTED } from "./field-reader.js";

/** The message as JSON, in which `large` has placeholders; undefined if the library must encode or reject it. */
export type JsonWriter = (message: Message, large: LargeValues) => string | undefined;

/** Writes a set value. */
type WriteValue = (value: unknown, large: LargeValues) => string;

const TIMESTAMP = "google.protobuf.Timestamp";
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds: the range of the JSON form. */
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;
const NANOS_MAX = 999_999_999;

export function createJsonWriter(desc: DescMessage): JsonWriter {
  if (!isSupported(desc, new Set())) return () => undefined;
  const write = messageWriter(desc, new Map());
  return (message, large) => {
    try {
      return write(message, large);
    } catch (error) {
      if (error === UNSUPPORTED) return undefined;
      throw error;
    }
  };
}

/** Whether the type, including its nested types, needs no help from the library. */
function isSupported(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(desc) || desc.typeName === TIMESTAMP) return true;
  seen.add(desc);
  if (desc.typeName.startsWith("google.protobuf.")) return false;
  return desc.fields.every((field) => {
    if (field.presence === Presence.LEGACY_REQUIRED) return false;
    if (field.fieldKind === "map") return isTextMap(field);
    if (field.message !== undefined) return isSupported(field.message, seen);
    return field.enum !== undefined || field.scalar in SCALAR_WRITERS;
  });
}

function messageWriter(desc: DescMessage, known: Map<DescMessage, WriteValue>): WriteValue {
  const before = known.get(desc);
  if (before !== undefined) return before;
  const fields: WriteMember[] = [];
  const write: WriteValue = (message, large) => {
    const values = fieldsOf(message, desc);
    let text = "";
    for (const field of fields) {
      const member = field(values, large);
      if (member !== undefined) text += text === "" ? member : `,${member}`;
    }
    return `{${text}}`;
  };
  // Registered before its fields are compiled: message types can be recursive.
  known.set(desc, write);
  for (const field of [...desc.fields].sort((left, right) => left.number - right.number))
    fields.push(memberWriter(field, known));
  return write;
}

type WriteMember = (message: Readonly<Record<string, unknown>>, large: LargeValues) => string | undefined;

function memberWriter(field: DescField, known: Map<DescMessage, WriteValue>): WriteMember {
  const reader = new FieldReader(field);
  const write = valueWriter(field, known);
  const writeItems = field.scalar === ScalarType.STRING ? textList : listWriter(write);
  const name = `${JSON.stringify(field.jsonName)}:`;
  return (message, large) => {
    const value = reader.read(message);
    if (value === undefined) return undefined;
    if (!reader.isList) return name + write(value, large);
    return name + writeItems(value as readonly unknown[], large);
  };
}

function listWriter(write: WriteValue): (items: readonly unknown[], large: LargeValues) => string {
  return (items, large) => `[${items.map((item) => write(item, large)).join(",")}]`;
}

/** A page of keys: the whole list at once takes a quarter of the time. */
function textList(items: readonly unknown[]): string {
  if (!items.every((item) => typeof item === "string")) throw UNSUPPORTED;
  return JSON.stringify(items);
}

function valueWriter(field: DescField, known: Map<DescMessage, WriteValue>): WriteValue {
  if (field.fieldKind === "map") return writeTextMap;
  if (field.message?.typeName === TIMESTAMP) return writeTimestamp;
  if (field.message !== undefined) return messageWriter(field.message, known);
  if (field.enum !== undefined) return enumWriter(field.enum);
  const write = SCALAR_WRITERS[field.scalar];
  if (write === undefined) throw new Error(`${field.toString()} is not supported`);
  return write;
}

/** The value's name, or its number if it has no name. */
function enumWriter(desc: DescEnum): WriteValue {
  const names = new Map(desc.values.map(({ number, name }) => [number, JSON.stringify(name)]));
  return (value) => {
    if (typeof value !== "number") throw UNSUPPORTED;
    return names.get(value) ?? wholeNumber(value);
  };
}

/** RFC 3339 in UTC, with 0, 3, 6 or 9 fractional digits. */
function writeTimestamp(value: unknown): string {
  const { seconds, nanos } = value as { readonly seconds?: unknown; readonly nanos?: unknown };
  if (typeof seconds !== "bigint" || seconds < SECONDS_MIN || seconds > SECONDS_MAX) throw UNSUPPORTED;
  if (typeof nanos !== "number" || !Number.isInteger(nanos) || nanos < 0 || nanos > NANOS_MAX)
    throw UNSUPPORTED;
  const whole = new Date(Number(seconds) * 1_000).toISOString().slice(0, -".000Z".length);
  if (nanos === 0) return `"${whole}Z"`;
  let fraction = nanos.toString().padStart(9, "0");
  while (fraction.endsWith("000")) fraction = fraction.slice(0, -3);
  return `"${whole}.${fraction}Z"`;
}

function writeTextMap(map: unknown): string {
  let text = "";
  for (const [key, value] of Object.entries(map as object)) {
    if (typeof value !== "string") throw UNSUPPORTED;
    text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${JSON.stringify(value)}`;
  }
  return `{${text}}`;
}

function wholeNumber(value: unknown): string {
  if (typeof value !== "number" || !Number.isInteger(value)) throw UNSUPPORTED;
  return JSON.stringify(value);
}

function longNumber(value: unknown): string {
  if (typeof value !== "bigint") throw UNSUPPORTED;
  return `"${value}"`;
}

const SCALAR_WRITERS: Readonly<Partial<Record<ScalarType, WriteValue>>> = {
  [ScalarType.STRING](value) {
    if (typeof value !== "string") throw UNSUPPORTED;
    return JSON.stringify(value);
  },
  [ScalarType.BYTES](value, large) {
    if (!(value instanceof Uint8Array)) throw UNSUPPORTED;
    return `"${large.base64(value)}"`;
  },
  [ScalarType.BOOL](value) {
    if (typeof value !== "boolean") throw UNSUPPORTED;
    return value ? "true" : "false";
  },
  [ScalarType.INT32]: wholeNumber,
  [ScalarType.UINT32]: wholeNumber,
  [ScalarType.INT64]: longNumber,
  [ScalarType.UINT64]: longNumber,
};

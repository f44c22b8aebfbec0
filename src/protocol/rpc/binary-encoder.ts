/**
 * Encoders compiled once per message type: several times faster than walking the descriptor for every message. They support the common
 * field types; the library encodes the rest (maps of other types, packed lists, wrappers, unknown fields, values of the wrong type). The output is
 * byte for byte the library's, which a property test checks.
 */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { BackwardWriter } from "./backward-writer.js";
import type { Message } from "./codec.js";
import { FieldReader, fieldsOf, isTextMap, SPECIAL_TYPES, UNSUPPORTED } from "./field-reader.js";

/** Encodes a message after `headBytes` free bytes; undefined if the library must encode or reject it. */
export type BinaryEncoder = (message: Message, headBytes: number) => Buffer | undefined;

/** Writes a set value without its tag. */
type WriteValue = (writer: BackwardWriter, value: unknown) => void;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;
const LENGTH_DELIMITED = 2;
const VARINT = 0;

/** Encoding is synchronous, so all encoders share one writer. */
const writer = new BackwardWriter();

export function createBinaryEncoder(desc: DescMessage): BinaryEncoder {
  if (!isSupported(desc, new Set())) return () => undefined;
  const encoder = new MessageEncoder(desc, new Map());
  return (message, headBytes) => {
    try {
      writer.reset();
      encoder.write(writer, message);
      return writer.take(headBytes);
    } catch (error) {
      if (error === UNSUPPORTED) return undefined;
      throw error;
    }
  };
}

class MessageEncoder {
  private readonly fields: readonly FieldEncoder[];

  constructor(
    private readonly desc: DescMessage,
    known: Map<DescMessage, MessageEncoder>,
  ) {
    // Registered before its fields are compiled: message types can be recursive.
    known.set(desc, this);
    const backwards = [...desc.fields].sort((left, right) => right.number - left.number);
    this.fields = backwards.map((field) => new FieldEncoder(field, writerOf(field, known)));
  }

  write(target: BackwardWriter, message: unknown): void {
    const fields = fieldsOf(message, this.desc);
    if (fields.$unknown !== undefined) throw UNSUPPORTED;
    for (const field of this.fields) field.write(target, fields);
  }
}

class FieldEncoder {
  private readonly reader: FieldReader;
  private readonly tag: number;
  private readonly isMap: boolean;

  constructor(
    field: DescField,
    private readonly writeValue: WriteValue,
  ) {
    this.reader = new FieldReader(field);
    this.isMap = field.fieldKind === "map";
    this.tag = (field.number << 3) | (isVarint(field) ? VARINT : LENGTH_DELIMITED);
  }

  write(target: BackwardWriter, message: Readonly<Record<string, unknown>>): void {
    const value = this.reader.read(message);
    if (value === undefined) return;
    if (this.isMap) {
      this.writeItems(target, Object.entries(value as object));
      return;
    }
    if (!this.reader.isList) {
      this.writeTagged(target, value);
      return;
    }
    this.writeItems(target, value as readonly unknown[]);
  }

  private writeItems(target: BackwardWriter, items: readonly unknown[]): void {
    for (let index = items.length - 1; index >= 0; index--) this.writeTagged(target, items[index]);
  }

  private writeTagged(target: BackwardWriter, value: unknown): void {
    this.writeValue(target, value);
    target.varint(this.tag);
  }
}

/** Whether the type, including its nested types, needs no help from the library. */
function isSupported(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(desc)) return true;
  seen.add(desc);
  if (SPECIAL_TYPES.test(desc.typeName)) return false;
  return desc.fields.every((field) => {
    if (field.presence === Presence.LEGACY_REQUIRED) return false;
    if (field.fieldKind === "map") return isTextMap(field);
    if (field.fieldKind === "list" && (field.packed || field.listKind === "enum")) return false;
    if (field.message !== undefined) return !isDelimited(field) && isSupported(field.message, seen);
    if (field.fieldKind === "enum") return true;
    if (!(field.scalar in SCALAR_WRITERS)) return false;
    return !("longAsString" in field && field.longAsString);
  });
}

function isDelimited(field: DescField): boolean {
  return "delimitedEncoding" in field && field.delimitedEncoding;
}

function isVarint(field: DescField): boolean {
  if (field.message !== undefined) return false;
  return field.scalar !== ScalarType.STRING && field.scalar !== ScalarType.BYTES;
}

function writerOf(field: DescField, known: Map<DescMessage, MessageEncoder>): WriteValue {
  if (field.fieldKind === "map") return writePair;
  if (field.message !== undefined) {
    const encoder = known.get(field.message) ?? new MessageEncoder(field.message, known);
    return (target, value) => {
      const before = target.length;
      encoder.write(target, value);
      target.varint(target.length - before);
    };
  }
  const write = SCALAR_WRITERS[field.scalar ?? ScalarType.INT32];
  if (write === undefined) throw new Error(`${field.toString()} is not supported`);
  return write;
}

/** The tags of the key and the value in an entry of a map of text. */
const MAP_KEY_TAG = (1 << 3) | LENGTH_DELIMITED;
const MAP_VALUE_TAG = (2 << 3) | LENGTH_DELIMITED;

/** An entry of a map of text. */
function writePair(target: BackwardWriter, pair: unknown): void {
  const [key, value] = pair as readonly [string, unknown];
  const before = target.length;
  writeText(target, value);
  target.varint(MAP_VALUE_TAG);
  writeText(target, key);
  target.varint(MAP_KEY_TAG);
  target.varint(target.length - before);
}

function writeText(target: BackwardWriter, value: unknown): void {
  if (typeof value !== "string") throw UNSUPPORTED;
  const before = target.length;
  target.string(value);
  target.varint(target.length - before);
}

const SCALAR_WRITERS: Readonly<Partial<Record<ScalarType, WriteValue>>> = {
  [ScalarType.STRING]: writeText,
  [ScalarType.BYTES](target, value) {
    if (!(value instanceof Uint8Array)) throw UNSUPPORTED;
    target.bytes(value);
    target.varint(value.length);
  },
  [ScalarType.BOOL](target, value) {
    if (typeof value !== "boolean") throw UNSUPPORTED;
    target.varint(value ? 1 : 0);
  },
  [ScalarType.INT32](target, value) {
    if (typeof value !== "number" || (value | 0) !== value) throw UNSUPPORTED;
    target.signedVarint(value);
  },
  [ScalarType.UINT32](target, value) {
    if (typeof value !== "number" || value >>> 0 !== value) throw UNSUPPORTED;
    target.varint(value);
  },
  [ScalarType.INT64](target, value) {
    if (typeof value !== "bigint" || value < INT64_MIN || value > INT64_MAX) throw UNSUPPORTED;
    target.bigVarint(value);
  },
  [ScalarType.UINT64](target, value) {
    if (typeof value !== "bigint" || value < 0n || value > UINT64_MAX) throw UNSUPPORTED;
    target.bigVarint(value);
  },
};

/**
 * Which fields the decoders and encoders of this folder support: the common kinds. The library handles every message that has another one, is malformed,
 * or does not fit its type.
 */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { Edition } from "@bufbuild/protobuf/wkt";

/** Thrown for what the library must handle. */
export const UNSUPPORTED = new Error("not supported by the compiled decoders and encoders");

/** A message by the names of its fields. */
export type Fields = Record<string, unknown>;

/** The chosen field of a oneof. */
export interface Oneof {
  readonly case: string | undefined;
  readonly value?: unknown;
}

export const VARINT = 0;
export const LENGTH_DELIMITED = 2;

/** How deep messages of recursive types are encoded and decoded here. */
export const DEPTH_MAX = 32;

/** The tags of the key and the value in an entry of a map. */
export const MAP_KEY_TAG = (1 << 3) | LENGTH_DELIMITED;
export const MAP_VALUE_TAG = (2 << 3) | LENGTH_DELIMITED;

const SCALARS: ReadonlySet<ScalarType> = new Set([
  ...[ScalarType.STRING, ScalarType.BYTES, ScalarType.BOOL],
  ...[ScalarType.INT32, ScalarType.UINT32, ScalarType.INT64, ScalarType.UINT64],
]);

/** Messages whose JavaScript form differs from their fields. */
const SPECIAL_TYPES = /^google\.protobuf\.(?:\w+Value|Struct|Any)$/;

/** Whether a message of this type has its fields as properties of its own. */
export function isSupportedType(desc: DescMessage): boolean {
  return desc.file.edition === Edition.EDITION_PROTO3 && !SPECIAL_TYPES.test(desc.typeName);
}

export function isSupportedField(field: DescField): boolean {
  const { scalar } = field;
  switch (field.fieldKind) {
    case "message":
      return isSupportedType(field.message) && !field.delimitedEncoding;
    case "map":
      return field.mapKey === ScalarType.STRING && scalar === ScalarType.STRING;
    case "list":
      if (field.message !== undefined) return isSupportedType(field.message) && !field.delimitedEncoding;
      return scalar === ScalarType.STRING || scalar === ScalarType.BYTES;
    case "enum":
      return field.enum.open;
    case "scalar":
      return SCALARS.has(field.scalar) && !field.longAsString;
  }
}

/** The first varint of a field with one value, and of each item of a list. */
export function tagOf(field: DescField): number {
  const isDelimited =
    field.message !== undefined ||
    field.fieldKind === "map" ||
    field.scalar === ScalarType.STRING ||
    field.scalar === ScalarType.BYTES;
  return ((field.number << 3) | (isDelimited ? LENGTH_DELIMITED : VARINT)) >>> 0;
}

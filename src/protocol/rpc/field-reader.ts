/** Reads a field of a message and decides whether it is encoded, for every compiled encoder. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";

/** Thrown for values that the library must encode or reject. */
export const UNSUPPORTED = new Error("not supported by the compiled encoders");

/** Messages whose JavaScript form differs from their fields. */
export const SPECIAL_TYPES = /^google\.protobuf\.(?:\w+Value|Struct|Any)$/;

type Fields = Readonly<Record<string, unknown>>;

/** The fields of a message. Throws {@link UNSUPPORTED} if it is not of this type. */
export function fieldsOf(message: unknown, desc: DescMessage): Fields {
  if (typeof message !== "object" || message === null || !("$typeName" in message)) throw UNSUPPORTED;
  if (message.$typeName !== desc.typeName) throw UNSUPPORTED;
  return message;
}

export class FieldReader {
  readonly isList: boolean;
  private readonly isMap: boolean;
  private readonly name: string;
  private readonly oneof: string | undefined;
  private readonly isImplicit: boolean;
  /** For implicit presence: the default value, which is not encoded. */
  private readonly zero: unknown;

  constructor(field: DescField) {
    this.name = field.localName;
    this.oneof = field.oneof?.localName;
    this.isList = field.fieldKind === "list";
    this.isMap = field.fieldKind === "map";
    this.isImplicit = field.presence === Presence.IMPLICIT;
    this.zero = field.fieldKind === "enum" ? field.enum.values[0]?.number : zeroOf(field.scalar);
  }

  /** The value (of a list: its items; of a map: an object); undefined if the field is not encoded. Throws {@link UNSUPPORTED}. */
  read(message: Fields): unknown {
    if (this.oneof !== undefined) {
      const chosen = message[this.oneof] as { case?: unknown; value?: unknown } | undefined;
      if (typeof chosen !== "object") throw UNSUPPORTED;
      if (chosen.case !== this.name) return undefined;
      return chosen.value ?? unsupported();
    }
    const value = message[this.name];
    if (this.isList) return Array.isArray(value) ? (value.length === 0 ? undefined : value) : unsupported();
    if (this.isMap) return typeof value === "object" && value !== null ? nonEmpty(value) : unsupported();
    if (this.isImplicit) return this.isZero(value) ? undefined : (value ?? unsupported());
    return Object.hasOwn(message, this.name) ? value : undefined;
  }

  private isZero(value: unknown): boolean {
    return value === this.zero || (value instanceof Uint8Array && value.length === 0);
  }
}

/** Whether the field is a map from text to text, the only kind that the compiled encoders support. */
export function isTextMap(field: DescField): boolean {
  if (field.fieldKind !== "map" || field.mapKind !== "scalar") return false;
  return field.mapKey === ScalarType.STRING && field.scalar === ScalarType.STRING;
}

function nonEmpty(map: object): object | undefined {
  for (const key in map) if (Object.hasOwn(map, key)) return map;
  return undefined;
}

function unsupported(): never {
  throw UNSUPPORTED;
}

/** A scalar's default value. (`isZero` checks bytes by their length.) */
function zeroOf(type: ScalarType | undefined): unknown {
  switch (type) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return 0n;
    default:
      return 0;
  }
}

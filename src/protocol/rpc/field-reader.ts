/** What a message holds in a field, and whether that is written: read the same way by every encoder made ahead. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";

/** Thrown for what only the library knows how to encode, or to refuse. */
export const UNFORESEEN = new Error("not encoded here");

/** Messages that are stored in another form than their fields. */
export const SPECIAL_TYPES = /^google\.protobuf\.(?:\w+Value|Struct|Any)$/;

type Fields = Readonly<Record<string, unknown>>;

/** A message by its fields. Throws {@link UNFORESEEN} where it is none of this type. */
export function fieldsOf(message: unknown, desc: DescMessage): Fields {
  if (typeof message !== "object" || message === null || !("$typeName" in message)) throw UNFORESEEN;
  if (message.$typeName !== desc.typeName) throw UNFORESEEN;
  return message;
}

export class FieldReader {
  readonly isList: boolean;
  private readonly name: string;
  private readonly oneof: string | undefined;
  private readonly isImplicit: boolean;
  /** For implicit presence: the value that is not written. */
  private readonly zero: unknown;

  constructor(field: DescField) {
    this.name = field.localName;
    this.oneof = field.oneof?.localName;
    this.isList = field.fieldKind === "list";
    this.isImplicit = field.presence === Presence.IMPLICIT;
    this.zero = field.fieldKind === "enum" ? field.enum.values[0]?.number : zeroOf(field.scalar);
  }

  /** The value; of a list, its items. Undefined where nothing is written. Throws {@link UNFORESEEN}. */
  read(message: Fields): unknown {
    if (this.oneof !== undefined) {
      const chosen = message[this.oneof] as { case?: unknown; value?: unknown } | undefined;
      if (typeof chosen !== "object") throw UNFORESEEN;
      if (chosen.case !== this.name) return undefined;
      return chosen.value ?? refuse();
    }
    const value = message[this.name];
    if (this.isList) return Array.isArray(value) ? (value.length === 0 ? undefined : value) : refuse();
    if (this.isImplicit) return this.isZero(value) ? undefined : (value ?? refuse());
    return Object.hasOwn(message, this.name) ? value : undefined;
  }

  private isZero(value: unknown): boolean {
    return value === this.zero || (value instanceof Uint8Array && value.length === 0);
  }
}

function refuse(): never {
  throw UNFORESEEN;
}

/** The value of a scalar that is not written; empty bytes are told by their length. */
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

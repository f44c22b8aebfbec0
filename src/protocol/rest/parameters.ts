/** Parses path and query text into request fields by the field's type. Malformed text is a 400 that names the parameter. */
import {
  create,
  type DescField,
  type DescMessage,
  fromJson,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema, FieldMaskSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { badRequest } from "./errors.js";

/** Sets a request field from a parameter's text. `name` is for the error sentence. Throws a 400. */
export type Setter = (request: Message, text: string, name: string) => void;

/** Parses a field's value. Throws an Error that says what would be right: "it must be true or false". */
type Parse = (text: string) => unknown;

/**
 * The setter of a field; undefined if a parameter can't express its type (maps, messages without a text form). Each call appends an item to
 * a repeated field.
 */
export function fieldSetter(desc: DescMessage, field: DescField): Setter | undefined {
  const parse = parserOf(field);
  if (parse === undefined) return undefined;
  const isMessage = (field.fieldKind === "list" ? field.listKind : field.fieldKind) === "message";
  return (request, text, name) => {
    const message = reflect(desc, request);
    const value = parseParameter(parse, text, name);
    const fieldValue = isMessage && field.message ? reflect(field.message, value as Message) : value;
    if (field.fieldKind === "list") {
      message.get(field).add(fieldValue);
      return;
    }
    message.set(field, fieldValue);
  };
}

/** A faster setter for string fields: every call sets path variables. */
export function textSetter(field: DescField): Setter {
  return (request, text) => {
    Reflect.set(request, field.localName, text);
  };
}

/** Parses true or false. Throws a 400. */
export function parseBooleanParameter(text: string, name: string): boolean {
  return parseParameter(parseBoolean, text, name) as boolean;
}

/** Parses a duration such as 5s. Throws a 400. */
export const parseDurationParameter = (text: string, name: string): ReturnType<typeof parseDuration> =>
  parseParameter(parseDuration, text, name) as ReturnType<typeof parseDuration>;

function parseParameter(parse: Parse, text: string, name: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    const shown = text.length <= 80 ? text : `${text.slice(0, 77)}...`;
    const rule = error instanceof Error ? error.message : "it is malformed";
    throw badRequest(`${name} is ${JSON.stringify(shown)}; ${rule}.`);
  }
}

function parserOf(field: DescField): Parse | undefined {
  const kind = field.fieldKind === "list" ? field.listKind : field.fieldKind;
  switch (kind) {
    case "scalar":
      return field.scalar === undefined ? undefined : SCALAR_PARSERS[field.scalar];
    case "enum":
      return field.enum && enumParser(field.enum);
    case "message":
      return field.message && MESSAGE_PARSERS[field.message.typeName];
    default:
      return undefined;
  }
}

const SCALAR_PARSERS: Readonly<Partial<Record<ScalarType, Parse>>> = {
  [ScalarType.STRING]: (text) => text,
  [ScalarType.BOOL]: parseBoolean,
  [ScalarType.BYTES]: parseBytes,
  [ScalarType.INT32]: number32(-(2n ** 31n), 2n ** 31n - 1n),
  [ScalarType.SINT32]: number32(-(2n ** 31n), 2n ** 31n - 1n),
  [ScalarType.SFIXED32]: number32(-(2n ** 31n), 2n ** 31n - 1n),
  [ScalarType.UINT32]: number32(0n, 2n ** 32n - 1n),
  [ScalarType.FIXED32]: number32(0n, 2n ** 32n - 1n),
  [ScalarType.INT64]: wholeNumber(-(2n ** 63n), 2n ** 63n - 1n),
  [ScalarType.SINT64]: wholeNumber(-(2n ** 63n), 2n ** 63n - 1n),
  [ScalarType.SFIXED64]: wholeNumber(-(2n ** 63n), 2n ** 63n - 1n),
  [ScalarType.UINT64]: wholeNumber(0n, 2n ** 64n - 1n),
  [ScalarType.FIXED64]: wholeNumber(0n, 2n ** 64n - 1n),
  [ScalarType.DOUBLE]: parseNumber,
  [ScalarType.FLOAT]: parseNumber,
};

const MESSAGE_PARSERS: Readonly<Record<string, Parse>> = {
  [DurationSchema.typeName]: parseDuration,
  [TimestampSchema.typeName]: parseTimestamp,
  [FieldMaskSchema.typeName]: (text) =>
    create(FieldMaskSchema, { paths: text === "" ? [] : text.split(",") }),
};

function parseBoolean(text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new Error("it must be true or false");
}

function wholeNumber(least: bigint, most: bigint): (text: string) => bigint {
  return (text) => {
    // Longer text can't be in range, and BigInt() of very long text is slow.
    const value = /^-?\d{1,20}$/.test(text) ? BigInt(text) : undefined;
    if (value === undefined || value < least || value > most) {
      throw new Error(`it must be a whole number from ${least} to ${most}`);
    }
    return value;
  };
}

function number32(least: bigint, most: bigint): (text: string) => number {
  const parse = wholeNumber(least, most);
  return (text) => Number(parse(text));
}

function parseNumber(text: string): number {
  if (!/^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text)) throw new Error("it must be a number");
  return Number(text);
}

function parseBytes(text: string): Uint8Array {
  try {
    return base64Decode(text);
  } catch {
    throw new Error("it must be base64");
  }
}

function enumParser(desc: NonNullable<DescField["enum"]>): Parse {
  const prefix = desc.sharedPrefix ?? "";
  const byName = new Map<string, number>();
  for (const value of desc.values) {
    byName.set(value.name.toLowerCase(), value.number);
    if (value.name.toLowerCase().startsWith(prefix)) {
      byName.set(value.name.slice(prefix.length).toLowerCase(), value.number);
    }
  }
  const names = desc.values.map((value) => value.name.toLowerCase().slice(prefix.length)).join(", ");
  return (text) => {
    const value = byName.get(text.toLowerCase());
    if (value === undefined) throw new Error(`it must be one of ${names}`);
    return value;
  };
}

const NANOS_PER_UNIT: Readonly<Record<string, bigint>> = {
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

function parseDuration(text: string) {
  const found = /^(\d{1,9})(?:\.(\d{1,9}))?(ms|s|m|h)$/.exec(text);
  const [, whole = "0", fraction = "", unit = "s"] = found ?? [];
  if (found === null) throw new Error("it must be a duration such as 500ms, 5s or 1m");
  const nanosPerUnit = NANOS_PER_UNIT[unit] ?? 1n;
  const nanos =
    BigInt(whole) * nanosPerUnit + (BigInt(fraction.padEnd(9, "0")) * nanosPerUnit) / 1_000_000_000n;
  return create(DurationSchema, { seconds: nanos / 1_000_000_000n, nanos: Number(nanos % 1_000_000_000n) });
}

function parseTimestamp(text: string) {
  try {
    return fromJson(TimestampSchema, text);
  } catch {
    throw new Error("it must be a time such as 2026-01-31T12:00:00Z");
  }
}

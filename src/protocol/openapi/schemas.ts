/** JSON Schemas of the contract's messages (ProtoJSON with snake_case names) and of query parameters. */
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { type Comments, descriptionOf } from "./comments.js";

/** A part of the document. */
export type Json = { readonly [name: string]: unknown };

export const TEXT: Json = { type: "string" };
export const BOOLEAN: Json = { type: "boolean" };
/** A revision, size or count as the bridge writes it. */
export const COUNT: Json = { type: "integer", minimum: 0 };
export const TIME: Json = { type: "string", format: "date-time" };
export const BASE64: Json = { type: "string", contentEncoding: "base64" };
/** A value's bytes as the body. */
export const BINARY: Json = { type: "string", format: "binary" };
/** A duration in a parameter. */
export const SPAN: Json = { type: "string", pattern: "^[0-9]{1,9}(\\.[0-9]{1,9})?(ms|s|m|h)$" };

/** An object schema; `optional` lists the members that may be absent. */
export function objectOf(properties: Readonly<Record<string, Json>>, optional: readonly string[] = []): Json {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: "object", ...(required.length === 0 ? {} : { required }), properties };
}

export function listOf(items: Json): Json {
  return { type: "array", items };
}

/** The schema with a description. */
export function described(schema: Json, description: string | undefined): Json {
  if (description === undefined || description === "") return schema;
  return { ...schema, description };
}

/** Message schemas, each once in `components` by its name. */
export class MessageSchemas {
  readonly components: Record<string, Json> = {};

  constructor(private readonly comments: Comments) {}

  /** The comment of an element. */
  describe(name: string): string | undefined {
    const comment = this.comments.get(name);
    return comment === undefined ? undefined : descriptionOf(comment);
  }

  /** The schema of a response: unset fields have their default, except those with presence. */
  answer(message: DescMessage): Json {
    return this.message(message, "");
  }

  /** The schema of a request, without the fields in the path. */
  request(message: DescMessage, inPath: ReadonlySet<string>): Json {
    const fields = message.fields.filter(({ name }) => !inPath.has(name));
    return objectOf(
      this.properties(fields, "Input"),
      fields.map(({ name }) => name),
    );
  }

  /** The schema of a field as a parameter; undefined if it can't be one. */
  parameter(field: DescField): Json | undefined {
    const kind = field.fieldKind === "list" ? field.listKind : field.fieldKind;
    const item = this.parameterItem(field, kind);
    return item === undefined || field.fieldKind !== "list" ? item : listOf(item);
  }

  private parameterItem(field: DescField, kind: string): Json | undefined {
    if (kind === "enum" && field.enum !== undefined) return { type: "string", enum: shortNames(field.enum) };
    if (kind === "scalar" && field.scalar !== undefined) {
      // Unlike in ProtoJSON, 64-bit integers in parameters have no quotes.
      return INTEGERS.get(field.scalar) ?? SCALARS[field.scalar];
    }
    if (kind !== "message") return undefined;
    const { typeName } = field.message ?? {};
    return typeName === "google.protobuf.Duration" ? SPAN : WELL_KNOWN.get(typeName ?? "");
  }

  /** `suffix` distinguishes requests from responses, which have more required members. */
  private message(message: DescMessage, suffix: string): Json {
    const known = WELL_KNOWN.get(message.typeName);
    if (known !== undefined) return known;
    // Generators name the response of an operation ListApiKeysResponse: the message of that name is ListApiKeysResult here.
    const name = message.name.replace(/Response$/, "Result") + suffix;
    if (this.components[name] === undefined) {
      // Registered before its fields: message types can be recursive.
      this.components[name] = {};
      const optional = message.fields.filter((field) => suffix !== "" || hasPresence(field));
      const schema = objectOf(
        this.properties(message.fields, suffix),
        optional.map((field) => field.name),
      );
      this.components[name] = described(schema, this.describe(message.typeName));
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  private properties(fields: readonly DescField[], suffix: string): Record<string, Json> {
    return Object.fromEntries(
      fields.map((field) => [
        field.name,
        described(this.field(field, suffix), this.describe(`${field.parent.typeName}.${field.name}`)),
      ]),
    );
  }

  private field(field: DescField, suffix: string): Json {
    switch (field.fieldKind) {
      case "list":
        return listOf(this.value(field, suffix));
      case "map":
        return { type: "object", additionalProperties: this.value(field, suffix) };
      default:
        return this.value(field, suffix);
    }
  }

  private value(field: DescField, suffix: string): Json {
    if (field.message !== undefined) return this.message(field.message, suffix);
    if (field.enum !== undefined) return { type: "string", enum: field.enum.values.map(({ name }) => name) };
    return SCALARS[field.scalar];
  }
}

/** Whether the field is absent when unset. */
function hasPresence(field: DescField): boolean {
  return field.oneof !== undefined || field.fieldKind === "message" || field.proto.proto3Optional;
}

/** Enum values in parameters: without the common prefix, in lower case. */
function shortNames(desc: DescEnum): string[] {
  const prefix = desc.sharedPrefix ?? "";
  return desc.values.map(({ name }) => name.toLowerCase().slice(prefix.length));
}

/** ProtoJSON writes 64-bit integers as strings. */
const DIGITS: Json = { type: "string", pattern: "^-?[0-9]+$" };
const INTEGER: Json = { type: "integer" };

const SCALARS: Readonly<Record<ScalarType, Json>> = {
  [ScalarType.STRING]: TEXT,
  [ScalarType.BOOL]: BOOLEAN,
  [ScalarType.BYTES]: BASE64,
  [ScalarType.INT32]: INTEGER,
  [ScalarType.SINT32]: INTEGER,
  [ScalarType.SFIXED32]: INTEGER,
  [ScalarType.UINT32]: COUNT,
  [ScalarType.FIXED32]: COUNT,
  [ScalarType.INT64]: DIGITS,
  [ScalarType.SINT64]: DIGITS,
  [ScalarType.SFIXED64]: DIGITS,
  [ScalarType.UINT64]: DIGITS,
  [ScalarType.FIXED64]: DIGITS,
  [ScalarType.DOUBLE]: { type: "number" },
  [ScalarType.FLOAT]: { type: "number" },
};

const INTEGERS: ReadonlyMap<ScalarType, Json> = new Map([
  [ScalarType.INT64, INTEGER],
  [ScalarType.SINT64, INTEGER],
  [ScalarType.SFIXED64, INTEGER],
  [ScalarType.UINT64, COUNT],
  [ScalarType.FIXED64, COUNT],
]);

const WELL_KNOWN: ReadonlyMap<string, Json> = new Map([
  ["google.protobuf.Timestamp", TIME],
  ["google.protobuf.Duration", { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$" }],
  ["google.protobuf.FieldMask", TEXT],
]);

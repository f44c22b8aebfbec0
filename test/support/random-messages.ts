/** Random messages of any type, with the edge cases of each kind of field. */
import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import fc from "fast-check";

/** Text, also with lone surrogates. */
export const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ minLength: 30, maxLength: 300 }),
  fc.constant("\ud800"),
);
const SCALARS: Partial<Record<ScalarType, fc.Arbitrary<unknown>>> = {
  [ScalarType.STRING]: text,
  [ScalarType.BYTES]: fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(65_531, 65_536, 200_000).map((size) => new Uint8Array(size).fill(7)),
  ),
  [ScalarType.BOOL]: fc.boolean(),
  [ScalarType.INT32]: fc.oneof(fc.integer(), fc.constantFrom(-1, 0, -(2 ** 31), 2 ** 31 - 1, 127, 128)),
  [ScalarType.UINT32]: fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 32 - 1, 2 ** 31, 16_383, 16_384)),
  [ScalarType.INT64]: fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.constantFrom(0n, -1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 32n, 2n ** 53n),
  ),
  [ScalarType.UINT64]: fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.constantFrom(0n, 1n, 2n ** 28n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 35n, 2n ** 53n, 2n ** 64n - 1n),
  ),
};

/** Any message of a type; deeper than a few levels only empty ones. */
export function messageOf(desc: DescMessage, depth = 3): fc.Arbitrary<Message> {
  const members: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of desc.members) {
    members[member.localName] =
      member.kind === "oneof"
        ? fc.oneof(
            fc.constant({ case: undefined }),
            ...member.fields.map((field) =>
              valueOf(field, depth).map((value) => ({ case: field.localName, value })),
            ),
          )
        : fieldOf(member, depth);
  }
  return fc.record(members, { requiredKeys: [] }).map((fields) => create(desc, fields));
}

function fieldOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  const value = valueOf(field, depth);
  if (field.fieldKind === "map") {
    const name = text.filter((key) => key !== "__proto__");
    return fc.dictionary(name, value, { maxKeys: 4, noNullPrototype: true });
  }
  return field.fieldKind === "list" ? fc.array(value, { maxLength: depth > 0 ? 4 : 0 }) : value;
}

function valueOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message !== undefined) {
    const { message } = field;
    return depth === 0 ? fc.constant(create(message)) : fc.nat(0).chain(() => messageOf(message, depth - 1));
  }
  if (field.enum !== undefined) return fc.constantFrom(...field.enum.values.map((value) => value.number), -1);
  const scalar = SCALARS[field.scalar];
  if (scalar === undefined) throw new Error(`no values for ${field.toString()}`);
  return scalar;
}

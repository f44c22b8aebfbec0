/** Reads members of a JSON body by name and type. An unknown or wrongly typed member is a 400 that names it. */
import { Consistency } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { badRequest } from "./errors.js";

/** Reads a JSON value. Throws an Error that says what would be right. */
export type ReadMember<Value> = (value: unknown) => Value;

/**
 * Reads the members of a body with a table of readers. With `nullIsAbsent`, `null` means absent, as serialisers write it for unset members.
 * Otherwise it is a 400: in an update it could also mean "remove".
 */
export function readMembers<Table extends Readonly<Record<string, ReadMember<unknown>>>>(
  body: Readonly<Record<string, unknown>>,
  table: Table,
  nullIsAbsent: boolean,
): { readonly [Name in keyof Table]?: ReturnType<Table[Name]> } {
  const members: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    const read = Object.hasOwn(table, name) ? table[name] : undefined;
    if (read === undefined) {
      throw badRequest(
        `The body has ${JSON.stringify(name)}; the allowed fields are ${Object.keys(table).join(", ")}.`,
      );
    }
    if (value === null && nullIsAbsent) continue;
    try {
      members[name] = read(value);
    } catch (error) {
      const rule = error instanceof Error ? error.message : "it is malformed";
      throw badRequest(`${name} is ${describe(value)}; ${rule}.`);
    }
  }
  return members as { readonly [Name in keyof Table]?: ReturnType<Table[Name]> };
}

export const readText: ReadMember<string> = (value) => {
  if (typeof value !== "string") throw new Error("it must be a string");
  return value;
};

export const readBoolean: ReadMember<boolean> = (value) => {
  if (typeof value !== "boolean") throw new Error("it must be true or false");
  return value;
};

export const readTexts: ReadMember<string[]> = (value) => {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string"))
    throw new Error("it must be a list of strings");
  return value;
};

/** As the parameter `consistency` of a query. */
export const readConsistency: ReadMember<Consistency> = (value) => {
  if (value === "strong") return Consistency.STRONG;
  if (value === "eventual") return Consistency.EVENTUAL;
  throw new Error('it must be "strong" or "eventual"');
};

/** A whole number from 0 to `most`. */
export function readCount(most: number): ReadMember<number> {
  return (value) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most) {
      throw new Error(`it must be a whole number from 0 to ${most}`);
    }
    return value;
  };
}

/** Reads whole seconds, as milliseconds. */
export const readSeconds: ReadMember<number> = (value) => {
  const milliseconds = typeof value === "number" && Number.isInteger(value) ? value * 1_000 : NaN;
  if (!Number.isSafeInteger(milliseconds) || milliseconds < 0)
    throw new Error("it must be a whole number of seconds; 0 for none");
  return milliseconds;
};

function describe(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** The JSON form of the SDK's objects: `JSON.stringify` throws for a bigint. */

/** A revision as a number; as text where a number would not be exact, which the storage never reaches. */
export function jsonRevision(revision: bigint): number | string {
  const number = Number(revision);
  return Number.isSafeInteger(number) ? number : revision.toString();
}

/** The object with a `toJSON` that writes its bigints as numbers. The method is not enumerable, so copies and comparisons do not see it. */
export function withJson<Result extends object>(result: Result): Result {
  return Object.defineProperty(result, "toJSON", { value: toJson });
}

function toJson(this: object): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(this) as [string, unknown][])
    json[name] = Array.isArray(value) ? value.map(jsonOf) : jsonOf(value);
  return json;
}

function jsonOf(value: unknown): unknown {
  return typeof value === "bigint" ? jsonRevision(value) : value;
}

/** Bytes as base64. */
export function base64Of(bytes: Uint8Array): string {
  let text = "";
  // In pieces: a call has a limited number of arguments.
  for (let at = 0; at < bytes.length; at += PIECE_BYTES)
    text += String.fromCharCode(...bytes.subarray(at, at + PIECE_BYTES));
  return btoa(text);
}

const PIECE_BYTES = 8_192;

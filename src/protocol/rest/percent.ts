/** Splits a request target into path and query, and decodes percent-encoding exactly once. Not `new URL`, which throws and normalises. */

/** The parts of a request target, still encoded. */
export interface Target {
  readonly path: string;
  /** Without the question mark; empty when there is none. */
  readonly query: string;
}

const SCHEME_AND_AUTHORITY = /^https?:\/\/[^/?]*/i;

/** Splits a request target. Accepts the absolute form, as RFC 9112 section 3.2.2 requires. Never throws. */
export function splitTarget(target: string): Target {
  const text = target.startsWith("/") ? target : target.replace(SCHEME_AND_AUTHORITY, "");
  const question = text.indexOf("?");
  return question < 0
    ? { path: text, query: "" }
    : { path: text.slice(0, question), query: text.slice(question + 1) };
}

const BEYOND_ASCII = /[^\x21-\x7e]/;

/** Whether the text is visible ASCII. Only broken clients send other characters, in an undefined encoding. */
export function isUriText(text: string): boolean {
  return !BEYOND_ASCII.test(text);
}

/** Decodes once: `%252F` becomes `%2F`. Undefined if an escape is malformed or the bytes are not UTF-8. */
export function decodePercent(text: string): string | undefined {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** One query parameter, decoded. */
export interface QueryParameter {
  readonly name: string;
  readonly value: string;
}

/**
 * Parses a query string as application/x-www-form-urlencoded (`+` is a space). A name without `=` has an empty value. Returns the first
 * malformed part if there is one.
 */
export function parseQuery(query: string): readonly QueryParameter[] | { readonly malformed: string } {
  if (query === "") return [];
  const parameters: QueryParameter[] = [];
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decodeFormText(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? "" : decodeFormText(pair.slice(equals + 1));
    if (name === undefined || value === undefined) return { malformed: pair };
    parameters.push({ name, value });
  }
  return parameters;
}

function decodeFormText(text: string): string | undefined {
  return decodePercent(text.replaceAll("+", " "));
}

/** The text of a request's target: its path and query, and percent-encoding, decoded exactly once. No `new URL`: it throws and normalises. */

/** A request's target in its parts, as the client wrote them. */
export interface Target {
  readonly path: string;
  /** Without the question mark; empty when there is none. */
  readonly query: string;
}

const SCHEME_AND_AUTHORITY = /^https?:\/\/[^/?]*/i;

/** Parts a request target. Also takes the absolute form, which servers must (RFC 9112 section 3.2.2). Never throws. */
export function splitTarget(target: string): Target {
  const text = target.startsWith("/") ? target : target.replace(SCHEME_AND_AUTHORITY, "");
  const question = text.indexOf("?");
  return question < 0
    ? { path: text, query: "" }
    : { path: text.slice(0, question), query: text.slice(question + 1) };
}

const BEYOND_ASCII = /[^\x21-\x7e]/;

/** Whether every character is one that may stand in a URI; others arrive only from broken clients, and in no defined encoding. */
export function isUriText(text: string): boolean {
  return !BEYOND_ASCII.test(text);
}

/** Decodes once: `%252F` is `%2F`. Undefined for a malformed escape, or when the bytes are not UTF-8. */
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
 * The parameters of a query string in their order, read as forms are (`+` is a space). A name without `=` has an empty value.
 * Returns the malformed part where there is one.
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

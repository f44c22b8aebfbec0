/**
 * Filters select the keys of a listing or a watch.
 *
 * Dots separate a filter into tokens, as they do a key. `*` as a whole token matches any one token; `>` as the last token matches one or
 * more further tokens; `*` inside a token matches zero or more characters. The storage matches complete tokens; this module does the rest.
 */
import { invalidArgument } from "./errors.js";
import { DEFAULT_LIMITS } from "./limits.js";
import { checkKey, escapeText, quote, unescapeText } from "./names.js";

/** One token of a filter: a wildcard, text in its stored form, or a glob over the unescaped characters of the token. */
type TokenPattern = "*" | { readonly stored: string } | { readonly pieces: readonly string[] };

/** A parsed filter. Create one with {@link parseFilter}. */
export interface Filter {
  /** The filter as typed. */
  readonly text: string;
  /** The narrowest NATS subject filter that covers it, without the bucket's prefix. */
  readonly subject: string;
  /** The one stored key that can match, if the filter has no wildcard. */
  readonly exactStoredKey: string | undefined;
  /** Whether every key under `subject` matches. Otherwise call `matches` for each. */
  readonly subjectDecides: boolean;
  /** The text that every matching key begins with, or is. */
  readonly prefix: string;
  /** Whether every longer key that begins with the prefix matches. */
  readonly matchesAllBelow: boolean;
  /** Whether the key with this stored form matches. */
  matches(storedKey: string): boolean;
}

/** The filter that matches every key. */
export const MATCH_ALL: Filter = Object.freeze({
  text: "",
  subject: ">",
  exactStoredKey: undefined,
  subjectDecides: true,
  prefix: "",
  matchesAllBelow: true,
  matches: () => true,
});

/** Parses one filter; empty means all. Throws `invalid_argument`. */
export function parseFilter(text: string): Filter {
  if (text === "" || text === ">") return text === "" ? MATCH_ALL : { ...MATCH_ALL, text };
  checkFilterText(text);
  const tokens = escapeText(text, "*>").split(".");
  const hasTail = tokens.at(-1) === ">";
  if (hasTail) tokens.pop();
  if (tokens.includes(">")) {
    throw invalidArgument(
      `The filter ${quote(text)} has '>' before its end; '>' may only be the last token.`,
    );
  }
  const patterns = tokens.map(parseToken);
  const subjectTokens = patterns.map((pattern) =>
    pattern !== "*" && "stored" in pattern ? pattern.stored : "*",
  );
  if (hasTail) subjectTokens.push(">");
  const subject = subjectTokens.join(".");
  const isExact = !hasTail && patterns.every((pattern) => pattern !== "*" && "stored" in pattern);
  return {
    text,
    subject,
    exactStoredKey: isExact ? subject : undefined,
    subjectDecides: patterns.every((pattern) => pattern === "*" || "stored" in pattern),
    prefix: prefixOf(patterns, hasTail),
    matchesAllBelow: hasTail && patterns.every((pattern) => pattern !== "*" && "stored" in pattern),
    matches: (storedKey) => matchTokens(patterns, hasTail, storedKey.split(".")),
  };
}

/** Parses the filters of a request; none: match all. Throws `invalid_argument` if one is malformed, or there are more than 32. */
export function parseFilters(texts: readonly string[]): readonly Filter[] {
  if (texts.length > DEFAULT_LIMITS.filtersMax) {
    throw invalidArgument(
      `The request has ${texts.length} filters; at most ${DEFAULT_LIMITS.filtersMax} are allowed.`,
    );
  }
  const filters = texts.map(parseFilter);
  return filters.length === 0 || filters.some((filter) => filter.subject === ">" && filter.subjectDecides)
    ? [MATCH_ALL]
    : filters;
}

/** Whether a stored key matches at least one of the filters. */
export function matchesAny(filters: readonly Filter[], storedKey: string): boolean {
  return filters.some((filter) => filter.matches(storedKey));
}

/**
 * NATS subject filters, without the bucket's prefix, that cover the filters and do not overlap, because JetStream rejects a consumer
 * with overlapping filters. If two overlap and neither covers the other, the result is `>`: read everything and match it here.
 */
export function serverSubjects(filters: readonly Filter[]): readonly string[] {
  const subjects = [...new Set(filters.map((filter) => filter.subject))];
  const widest = subjects.filter(
    (subject) => !subjects.some((other) => other !== subject && covers(other, subject)),
  );
  const overlap = widest.some((subject, index) =>
    widest.slice(index + 1).some((other) => overlaps(subject, other)),
  );
  return overlap || widest.length === 0 ? [">"] : widest;
}

function checkFilterText(text: string): void {
  try {
    checkKey(text);
  } catch {
    throw invalidArgument(
      `The filter ${quote(text)} is malformed; a filter is up to 512 bytes of UTF-8 without control characters.`,
    );
  }
}

function parseToken(token: string): TokenPattern {
  if (token === "*") return "*";
  if (!token.includes("*")) return { stored: token.replaceAll(">", "=3E") };
  return { pieces: token.split("*").map((piece) => unescapeText(piece) ?? piece) };
}

function prefixOf(patterns: readonly TokenPattern[], hasTail: boolean): string {
  let prefix = "";
  for (const [index, pattern] of patterns.entries()) {
    if (pattern === "*") return prefix;
    if ("pieces" in pattern) return prefix + (pattern.pieces[0] ?? "");
    const isLast = index === patterns.length - 1 && !hasTail;
    prefix += (unescapeText(pattern.stored) ?? "") + (isLast ? "" : ".");
  }
  return prefix;
}

function matchTokens(
  patterns: readonly TokenPattern[],
  hasTail: boolean,
  tokens: readonly string[],
): boolean {
  if (hasTail ? tokens.length <= patterns.length : tokens.length !== patterns.length) return false;
  return patterns.every((pattern, index) => {
    const token = tokens[index] ?? "";
    if (pattern === "*") return true;
    if ("stored" in pattern) return pattern.stored === token;
    // A token with an invalid escape belongs to another program's key, which stays hidden.
    const text = unescapeText(token);
    return text !== undefined && matchGlob(pattern.pieces, text);
  });
}

/** Whether the text consists of the pieces (two or more) with any characters between them. Runs in linear time. */
export function matchGlob(pieces: readonly string[], text: string): boolean {
  const first = pieces[0] ?? "";
  const last = pieces.at(-1) ?? "";
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let position = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, position);
    if (found < 0 || found + piece.length > end) return false;
    position = found + piece.length;
  }
  return true;
}

/** Whether every subject that `narrow` matches is matched by `wide`. */
function covers(wide: string, narrow: string): boolean {
  const wideTokens = wide.split(".");
  const narrowTokens = narrow.split(".");
  for (const [index, token] of wideTokens.entries()) {
    const other = narrowTokens[index];
    if (other === undefined) return false;
    if (token === ">") return true;
    if (other === ">" || (token !== "*" && token !== other)) return false;
  }
  return wideTokens.length === narrowTokens.length;
}

/** Whether some subject is matched by both. */
function overlaps(left: string, right: string): boolean {
  const leftTokens = left.split(".");
  const rightTokens = right.split(".");
  for (let index = 0; ; index++) {
    const one = leftTokens[index];
    const other = rightTokens[index];
    if (one === undefined || other === undefined) return one === other;
    if (one === ">" || other === ">") return true;
    if (one !== "*" && other !== "*" && one !== other) return false;
  }
}

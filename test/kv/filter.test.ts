/** Filters against a model so simple that it can be seen to be right. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { matchesAny, parseFilter, parseFilters, serverSubjects } from "../../src/kv/filter.js";
import { escapeKey } from "../../src/kv/names.js";
import { runs } from "../support/extended.js";

/** The tokens of a key or filter: dots part them, but for those that would leave an empty one, which are ordinary characters. */
function tokensOf(text: string): string[] {
  const characters = Array.from(text);
  const tokens = [""];
  for (const [index, character] of characters.entries()) {
    const isParting = character === "." && tokens.at(-1) !== "" && index < characters.length - 1;
    if (isParting) tokens.push("");
    else tokens.push((tokens.pop() ?? "") + character);
  }
  return tokens;
}

/** `*` in a token is any run of characters; as a whole token it is any one token; `>` as the last is one or more. */
function modelMatches(filter: string, key: string): boolean {
  if (filter === "") return true;
  return tokensMatch(tokensOf(filter), tokensOf(key));
}

function tokensMatch(filter: readonly string[], key: readonly string[]): boolean {
  const [first, ...rest] = filter;
  if (first === undefined) return key.length === 0;
  if (first === ">" && rest.length === 0) return key.length >= 1;
  const [token, ...others] = key;
  return token !== undefined && globMatches(first, token) && tokensMatch(rest, others);
}

function globMatches(glob: string, text: string): boolean {
  if (glob === "") return text === "";
  if (glob.startsWith("*")) {
    return Array.from({ length: text.length + 1 }, (_, skip) => skip).some((skip) =>
      globMatches(glob.slice(1), text.slice(skip)),
    );
  }
  return text !== "" && glob[0] === text[0] && globMatches(glob.slice(1), text.slice(1));
}

/** Whether NATS delivers the subject to a subscription of this filter. */
function natsMatches(filter: string, subject: string): boolean {
  return natsTokensMatch(filter.split("."), subject.split("."));
}

function natsTokensMatch(filter: readonly string[], subject: readonly string[]): boolean {
  const [first, ...rest] = filter;
  if (first === undefined) return subject.length === 0;
  if (first === ">") return subject.length >= 1;
  const [token, ...others] = subject;
  return token !== undefined && (first === "*" || first === token) && natsTokensMatch(rest, others);
}

const anyCharacter = fc.constantFrom("a", "b", ".", ".", "*", ">", "=", "é", ":", "%", "🙂", "-", "2", "E");
const keys = fc.string({ unit: anyCharacter, minLength: 1, maxLength: 10 });
/** Filters that are taken: texts with `>` as a whole token before the end are not. */
const filters = fc
  .oneof(
    fc.string({ unit: anyCharacter, maxLength: 8 }),
    fc
      .array(fc.constantFrom("a", "b", "*", "a*", "*b", "a*b*", "é", "=2E"), { minLength: 1, maxLength: 4 })
      .map((tokens) => tokens.join(".")),
    fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 3 }).map((tokens) => [...tokens, ">"].join(".")),
  )
  .filter((text) =>
    tokensOf(text)
      .slice(0, -1)
      .every((token) => token !== ">"),
  );
/** A filter with a key that is likely to match: its wildcards replaced. */
const pairs = fc.oneof(
  fc.tuple(filters, keys),
  fc
    .tuple(filters, fc.string({ unit: anyCharacter, minLength: 1, maxLength: 3 }))
    .map(([filter, run]): [string, string] => [filter, filter.replaceAll(/[*>]/g, run) || "x"])
    .filter(([, key]) => key.isWellFormed()),
);

describe("a filter", () => {
  it("matches exactly what the model does", () => {
    let matched = 0;
    fc.assert(
      fc.property(pairs, ([filter, key]) => {
        const expected = modelMatches(filter, key);
        if (expected) matched++;
        expect(parseFilter(filter).matches(escapeKey(key)), `${filter} on ${key}`).toBe(expected);
      }),
      { numRuns: runs(10_000) },
    );
    expect(matched).toBeGreaterThan(runs(1_000));
  });

  it("has a subject that covers every match, and no more where the subject decides", () => {
    fc.assert(
      fc.property(pairs, ([text, key]) => {
        const filter = parseFilter(text);
        const stored = escapeKey(key);
        const isCovered = natsMatches(filter.subject, stored);
        if (filter.matches(stored)) expect(isCovered).toBe(true);
        if (filter.subjectDecides) expect(filter.matches(stored)).toBe(isCovered);
        if (filter.exactStoredKey !== undefined)
          expect(filter.matches(stored)).toBe(stored === filter.exactStoredKey);
      }),
      { numRuns: runs(10_000) },
    );
  });

  it("has a subject of legal tokens only, whatever is typed", () => {
    fc.assert(
      fc.property(
        fc.oneof(filters, fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" })),
        (text) => {
          let subject;
          try {
            subject = parseFilter(text).subject;
          } catch (error) {
            expect(error).toBeInstanceOf(KvError);
            expect(error).toMatchObject({ kind: "invalid_argument" });
            return;
          }
          expect(subject).toMatch(/^(([-/_=A-Za-z0-9]+|\*)(\.([-/_=A-Za-z0-9]+|\*))*(\.>)?|>)$/);
        },
      ),
      { numRuns: runs(5_000) },
    );
  });

  it.each([
    ["", ">", undefined],
    [">", ">", undefined],
    ["*", "*", undefined],
    ["user.*", "user.*", undefined],
    ["user.>", "user.>", undefined],
    ["user-*", "*", undefined],
    ["a.b*.c", "a.*.c", undefined],
    ["user:1", "user=3A1", "user=3A1"],
    ["a>b", "a=3Eb", "a=3Eb"],
    ["**", "*", undefined],
    ["a..*", "a.*", undefined],
  ])("%j is narrowed by the subject %s", (text, subject, exact) => {
    const filter = parseFilter(text);
    expect(filter.subject).toBe(subject);
    expect(filter.exactStoredKey).toBe(exact);
  });

  it.each([">.a", "a.>.b", "a\nb", "\ud800", "x".repeat(513), ">.>"])("%j is refused", (text) => {
    expect(() => parseFilter(text)).toThrow(expect.objectContaining({ kind: "invalid_argument" }));
  });

  it("takes linear time for many stars", () => {
    const filter = parseFilter(`${"a*".repeat(200)}b`);
    expect(filter.matches("a".repeat(512))).toBe(false);
    expect(filter.matches(`${"a".repeat(511)}b`)).toBe(true);
  });
});

describe("several filters", () => {
  const many = fc.array(filters, { minLength: 0, maxLength: 5 });

  it("match what one of them matches; none match all", () => {
    fc.assert(
      fc.property(many, keys, (texts, key) => {
        const expected = texts.length === 0 || texts.some((text) => modelMatches(text, key));
        expect(matchesAny(parseFilters(texts), escapeKey(key))).toBe(expected);
      }),
      { numRuns: runs(5_000) },
    );
  });

  it("have subjects that cover every match and never overlap", () => {
    const subjects = fc.string({ unit: fc.constantFrom("a", "b", ".", "é"), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(many, fc.oneof(keys, subjects), (texts, key) => {
        const parsed = parseFilters(texts);
        const stored = escapeKey(key);
        const covering = serverSubjects(parsed).filter((subject) => natsMatches(subject, stored));
        expect(covering.length).toBeLessThanOrEqual(1);
        if (matchesAny(parsed, stored)) expect(covering).toHaveLength(1);
      }),
      { numRuns: runs(10_000) },
    );
  });

  it.each<[string[], string[]]>([
    [[], [">"]],
    [["a", "a"], ["a"]],
    [["a.*", "a.b"], ["a.*"]],
    [
      ["a.>", "a.b.c", "b"],
      ["a.>", "b"],
    ],
    [["a.*", "*.b"], [">"]],
    [["a", "b-*"], ["*"]],
    [
      ["a.b", "c.d"],
      ["a.b", "c.d"],
    ],
    [["a", ""], [">"]],
  ])("%j are read by %j", (texts, subjects) => {
    expect(serverSubjects(parseFilters(texts))).toEqual(subjects);
  });

  it("are at most 32", () => {
    expect(parseFilters(Array.from({ length: 32 }, (_, index) => `k${index}`))).toHaveLength(32);
    expect(() => parseFilters(Array.from({ length: 33 }, () => "k"))).toThrow(
      expect.objectContaining({ kind: "invalid_argument" }),
    );
  });
});

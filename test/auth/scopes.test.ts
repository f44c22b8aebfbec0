/** Which scope allows what, and lies within which. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allows, allowsAny, checkScopes, covers } from "../../src/auth/scopes.js";
import type { Scope } from "../../src/service/principal.js";
import { runs } from "../support/extended.js";

const read = (buckets: string): Scope[] => [{ accesses: ["read"], buckets }];

describe("a scope", () => {
  it.each([
    ["*", "anything", true],
    ["*", "*", true],
    ["a", "a", true],
    ["a", "ab", false],
    ["a", "", false],
    ["a-*", "a-", true],
    ["a-*", "a-b", true],
    ["a-*", "b-a-b", false],
    ["*-a", "b-a", true],
    ["*-a", "b-ab", false],
    ["a*b", "ab", true],
    ["a*b", "a", false],
    ["a*a", "a", false],
    ["*x*", "axb", true],
    ["*x*", "ab", false],
    ["a*b*c", "a1b2c", true],
    ["a*b*c", "acb", false],
    ["*", "staging/a", false],
    ["default/a", "a", true],
    ["staging/a", "staging/a", true],
    ["staging/a", "a", false],
    ["staging/*", "staging/a", true],
    ["staging/*", "test/a", false],
    ["st*/a*", "staging/ab", true],
    ["*/a", "a", true],
    ["*/a", "staging/a", true],
    ["*/*", "*", true],
    ["s*", "staging/a", false],
    ["a*", "*", false],
    ["a*", "b".repeat(1_000_000), false],
  ])("on %s allows %.20s: %s", (buckets, bucket, isAllowed) => {
    expect(allows(read(buckets), "read", bucket)).toBe(isAllowed);
    expect(allowsAny(read(buckets), bucket)).toBe(isAllowed);
    expect(allows(read(buckets), "write", bucket)).toBe(false);
  });

  it("includes no kind of access that it does not name", () => {
    const scopes: Scope[] = [
      { accesses: ["admin"], buckets: "*" },
      { accesses: ["watch", "write"], buckets: "a" },
    ];
    expect(allows(scopes, "read", "a")).toBe(false);
    expect(allows(scopes, "write", "a")).toBe(true);
    expect(allows(scopes, "write", "b")).toBe(false);
  });
});

describe("scopes within others", () => {
  it.each<[string, string, boolean]>([
    ["*", "*", true],
    ["*", "a", true],
    ["a-*", "a-b-*", true],
    ["a-*", "a-*-b", true],
    ["a-*", "a*", false],
    ["a-*", "*", false],
    ["a", "*", false],
    ["a", "a", true],
    ["*-b", "a-*-b", true],
    ["*-b", "a-b*", false],
    ["*", "*/*", false],
    ["*/*", "*", true],
    ["*/*", "staging/*", true],
    ["staging/*", "*/a", false],
    ["s*/*", "staging/a", true],
  ])("%s holds %s: %s", (outer, inner, holds) => {
    expect(covers(read(outer), read(inner))).toBe(holds);
  });

  it("takes the kinds of access into account, each on its own", () => {
    const outer: Scope[] = [...read("*"), { accesses: ["write"], buckets: "a-*" }];
    expect(covers(outer, [{ accesses: ["read", "write"], buckets: "a-1" }])).toBe(true);
    expect(covers(outer, [{ accesses: ["read", "write"], buckets: "b" }])).toBe(false);
    expect(covers(outer, [])).toBe(true);
  });

  it("never lets anything through that the outer scope does not", () => {
    const glob = fc.string({ unit: fc.constantFrom("a", "b", "*"), minLength: 1, maxLength: 6 });
    const name = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 6 });
    fc.assert(
      fc.property(glob, glob, name, (outer, inner, bucket) => {
        if (!covers(read(outer), read(inner)) || !allows(read(inner), "read", bucket)) return;
        expect(allows(read(outer), "read", bucket)).toBe(true);
      }),
      { numRuns: runs(2_000) },
    );
  });
});

describe("scopes of a new key", () => {
  it.each<[string, readonly Scope[], RegExp]>([
    ["none", [], /0 scopes; it must have 1 to 32/],
    ["too many", Array.from({ length: 33 }, () => read("a")).flat(), /33 scopes/],
    [
      "one that allows nothing",
      [{ accesses: [], buckets: "a" }],
      /has no access; it needs at least one of read, write/,
    ],
    ["one without a bucket", read(""), /""/],
    ["a name with a dot", read("a.b"), /"a\.b" is malformed/],
    ["a name with a question mark", read("a?"), /malformed/],
    ["a line end", read("a\n"), /malformed/],
    ["a name that is too long", read("a".repeat(65)), /malformed/],
  ])("refuses %s", (_, scopes, sentence) => {
    expect(() => checkScopes(scopes)).toThrow(sentence);
  });

  it("takes globs and reserved-looking names, which can't reach the service's own buckets", () => {
    checkScopes([...read("*"), ...read("a-*_B9"), ...read("SYS_*")]);
  });
});

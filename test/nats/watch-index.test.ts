/** The parts of watches that need no storage: the index of filters, and the filter that covers several. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { matchesAny, parseFilters, serverSubjects } from "../../src/kv/filter.js";
import { escapeKey } from "../../src/kv/names.js";
import { coveringSubject } from "../../src/nats/read/covering-subject.js";
import { FilterIndex } from "../../src/nats/watch/filter-index.js";

const token = fc.constantFrom("a", "b", "ab", "user", "1", "x y");
const key = fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => tokens.join("."));
const filterToken = fc.oneof(token, fc.constantFrom("*", "a*", "*b", "u*r", "*"));
const filter = fc
  .tuple(fc.array(filterToken, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([tokens, hasTail]) => [...tokens, ...(hasTail ? [">"] : [])].join("."));
const filters = fc.array(filter, { maxLength: 4 });

describe("the index", () => {
  test("finds exactly those that have a matching filter", () => {
    fc.assert(
      fc.property(fc.array(filters, { maxLength: 12 }), fc.array(key, { maxLength: 12 }), (texts, keys) => {
        const index = new FilterIndex<{ filters: ReturnType<typeof parseFilters> }>();
        const subscribers = texts.map((some) => ({ filters: parseFilters(some) }));
        for (const subscriber of subscribers) index.add(subscriber.filters, subscriber);
        for (const each of keys.map(escapeKey)) {
          const found = new Set<object>();
          index.visit(each, (subscriber) => found.add(subscriber));
          expect(found).toEqual(new Set(subscribers.filter((one) => matchesAny(one.filters, each))));
        }
      }),
    );
  });

  test("is empty when all are removed, in any order", () => {
    fc.assert(
      fc.property(fc.array(filters, { maxLength: 12 }), fc.infiniteStream(fc.nat()), (texts, picks) => {
        const index = new FilterIndex<{ filters: ReturnType<typeof parseFilters> }>();
        const subscribers = texts.map((some) => ({ filters: parseFilters(some) }));
        for (const subscriber of subscribers) index.add(subscriber.filters, subscriber);
        while (subscribers.length > 0) {
          const [one] = subscribers.splice(picks.next().value % subscribers.length, 1);
          if (one !== undefined) index.remove(one.filters, one);
          for (const other of subscribers) {
            for (const { exactStoredKey } of other.filters) {
              const found: object[] = [];
              if (exactStoredKey !== undefined) index.visit(exactStoredKey, (each) => found.push(each));
              expect(exactStoredKey === undefined || found.includes(other)).toBe(true);
            }
          }
        }
        expect(index.isEmpty).toBe(true);
      }),
    );
  });
});

describe("a covering subject", () => {
  test.each([
    [["a"], "a"],
    [["user.1", "user.2"], "user.*"],
    [["user.1", "user.>"], "user.>"],
    [["a", "user.*"], ">"],
    [["user", "user.1"], ">"],
    [["a.x", "b.x.y"], "*.>"],
    [["a.b.c", "a.b.d.e", "a.b.f"], "a.b.>"],
    [[], ">"],
  ])("of %j is %s", (subjects, covering) => {
    expect(coveringSubject(subjects)).toBe(covering);
  });

  test("covers what the filters match", () => {
    fc.assert(
      fc.property(filters, key, (texts, text) => {
        const parsed = parseFilters(texts);
        fc.pre(matchesAny(parsed, escapeKey(text)));
        expect(isMatch(coveringSubject(serverSubjects(parsed)), escapeKey(text))).toBe(true);
      }),
    );
  });
});

/** Whether NATS matches a subject with a filter. */
function isMatch(filterSubject: string, subject: string): boolean {
  const pattern = filterSubject
    .split(".")
    .map((each) => (each === "*" ? "[^.]+" : each === ">" ? ".+" : each))
    .join("\\.");
  return new RegExp(`^${pattern}$`).test(subject);
}

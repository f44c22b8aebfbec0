import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatPathTemplate,
  parsePathTemplate,
  type PathTemplate,
  type Segment,
  TemplateError,
} from "../../src/protocol/rest/path-template.js";
import { decodePercent, parseQuery, splitTarget } from "../../src/protocol/rest/percent.js";
import { Router, variableText } from "../../src/protocol/rest/router.js";
import { runs } from "../support/extended.js";

const literal = { kind: "literal" } as const;

describe("path templates", () => {
  it.each<[string, PathTemplate]>([
    ["/v1", { segments: [{ ...literal, text: "v1" }], variables: [] }],
    [
      "/v1/{name}",
      {
        segments: [{ ...literal, text: "v1" }, { kind: "one" }],
        variables: [{ fieldPath: "name", first: 1, end: 2 }],
      },
    ],
    ["/*/**", { segments: [{ kind: "one" }, { kind: "rest" }], variables: [] }],
    [
      "/{a.b=x/*}/y/{key=**}",
      {
        segments: [{ ...literal, text: "x" }, { kind: "one" }, { ...literal, text: "y" }, { kind: "rest" }],
        variables: [
          { fieldPath: "a.b", first: 0, end: 2 },
          { fieldPath: "key", first: 3, end: 4 },
        ],
      },
    ],
  ])("parses %s", (text, template) => {
    expect(parsePathTemplate(text)).toEqual(template);
  });

  it.each([
    ["", "'/' is expected"],
    ["v1", "'/' is expected"],
    ["/", "a literal"],
    ["/v1/", "a literal"],
    ["//v1", "a literal"],
    ["/{", "a field name"],
    ["/{}", "a field name"],
    ["/{1a}", "a field name"],
    ["/{a", "'}' is expected"],
    ["/{a=}", "a literal"],
    ["/{a={b}}", "can't hold another"],
    ["/{a}/{a}", "used twice"],
    ["/**/v1", "only come last"],
    ["/{a=**}/{b}", "only come last"],
    ["/v1:cancel", "verbs"],
    ["/{a}:cancel", "verbs"],
    ["/{a}x", "a '/' or the end"],
    ["/a b", "a '/' or the end"],
    ["/a%20b", "a '/' or the end"],
    ["/***", "a '/' or the end"],
  ])("refuses %j", (text, problem) => {
    expect(() => parsePathTemplate(text)).toThrow(TemplateError);
    expect(() => parsePathTemplate(text)).toThrow(problem);
  });

  it("parses what it formats", () => {
    fc.assert(
      fc.property(templates(), (template) => {
        expect(parsePathTemplate(formatPathTemplate(template))).toEqual(template);
      }),
    );
  });
});

describe("the router", () => {
  it("finds the same routes as an exhaustive search", () => {
    const words = fc.constantFrom("a", "b", "c", "");
    const paths = fc.array(words, { minLength: 1, maxLength: 5 }).map((parts) => `/${parts.join("/")}`);
    const routes = fc.array(fc.tuple(fc.constantFrom("GET", "PUT"), templates(["a", "b"])), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(routes, paths, fc.constantFrom("GET", "PUT"), (list, path, httpMethod) => {
        const router = new Router<string>();
        const unique = new Map(
          list.map(([method, template]) => [`${method} ${shapeOf(template)}`, { method, template }]),
        );
        for (const [name, { method, template }] of unique) {
          router.add({ httpMethod: method, template, target: name });
        }
        const all = [...unique].filter(([, { template }]) => matchesNaively(template, path));
        const best = all
          .filter(([, { method }]) => method === httpMethod)
          .sort(([, left], [, right]) => compareExactness(left.template, right.template))[0];
        const match = router.find(httpMethod, path);
        expect(match?.route.target).toBe(best?.[0]);
        expect(router.methodsOf(path)).toEqual([...new Set(all.map(([, { method }]) => method))].sort());
        for (const variable of match?.route.template.variables ?? []) {
          const { end, first } = variable;
          const parts = path.slice(1).split("/");
          const isRest = match?.route.template.segments[end - 1]?.kind === "rest";
          expect(match && variableText(variable, match, path)).toBe(
            parts.slice(first, isRest ? undefined : end).join("/"),
          );
        }
      }),
      { numRuns: runs(2_000) },
    );
  });

  it("matches a percent-encoded literal", () => {
    const router = new Router<string>();
    router.add({ httpMethod: "GET", template: parsePathTemplate("/keys/{key=**}"), target: "keys" });
    expect(router.find("GET", "/%6Beys/a%2Fb")?.route.target).toBe("keys");
    expect(router.find("GET", "/keys%2Fa")).toBeUndefined();
    expect(router.find("GET", "/%zz/a")).toBeUndefined();
  });

  it("rejects two routes for the same paths", () => {
    const router = new Router<string>();
    router.add({ httpMethod: "GET", template: parsePathTemplate("/v1/{a}"), target: "one" });
    router.add({ httpMethod: "PUT", template: parsePathTemplate("/v1/{a}"), target: "two" });
    expect(() =>
      router.add({ httpMethod: "GET", template: parsePathTemplate("/v1/{b}"), target: "three" }),
    ).toThrow("GET /v1/{b} matches the same paths as /v1/{a}");
  });
});

describe("percent-encoding", () => {
  it("decodes what encodeURIComponent encodes, once", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(decodePercent(encodeURIComponent(text))).toBe(text);
        expect(decodePercent(encodeURIComponent(encodeURIComponent(text)))).toBe(encodeURIComponent(text));
      }),
    );
  });

  it.each(["%", "%2", "%zz", "a%", "%C3", "%C3%28", "%ED%A0%80", "%F8%88%80%80%80", "%C0%AF"])(
    "refuses %j",
    (text) => expect(decodePercent(text)).toBeUndefined(),
  );

  it("reads queries as URLSearchParams does", () => {
    const pairs = fc.array(fc.tuple(fc.string({ minLength: 1 }), fc.string()), { maxLength: 6 });
    fc.assert(
      fc.property(pairs, (list) => {
        const query = new URLSearchParams(list).toString();
        expect(parseQuery(query)).toEqual(list.map(([name, value]) => ({ name, value })));
      }),
    );
  });

  it.each([
    ["", []],
    ["&&", []],
    ["a", [{ name: "a", value: "" }]],
    ["a=b=c", [{ name: "a", value: "b=c" }]],
    ["=x", [{ name: "", value: "x" }]],
    ["a=%zz", { malformed: "a=%zz" }],
    ["%=1", { malformed: "%=1" }],
  ])("reads the query %j", (query, expected) => expect(parseQuery(query)).toEqual(expected));

  it.each([
    ["/a/../b//c?x=1?y", { path: "/a/../b//c", query: "x=1?y" }],
    ["/a", { path: "/a", query: "" }],
    ["http://host:1/a?b", { path: "/a", query: "b" }],
    ["http://[/a", { path: "/a", query: "" }],
    ["*", { path: "*", query: "" }],
    ["", { path: "", query: "" }],
  ])("parts the target %j", (target, expected) => expect(splitTarget(target)).toEqual(expected));

  it("never throws, whatever the target", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => void parseQuery(splitTarget(text).query)));
  });
});

/** Any template: segments, some of them taken by variables. */
function templates(words: readonly string[] = ["a", "b.c", "v1", "_~-"]): fc.Arbitrary<PathTemplate> {
  const segment: fc.Arbitrary<Segment> = fc.oneof(
    fc.constantFrom(...words).map((text) => ({ kind: "literal" as const, text })),
    fc.constant({ kind: "one" as const }),
  );
  return fc
    .tuple(
      fc.array(segment, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.array(fc.nat(6), { maxLength: 4 }),
    )
    .map(([plain, hasRest, cuts]) => {
      const segments: Segment[] = hasRest ? [...plain, { kind: "rest" }] : plain;
      const bounds = [...new Set(cuts.map((cut) => Math.min(cut, segments.length)))].sort((a, b) => a - b);
      const variables = [];
      for (let index = 0; index + 1 < bounds.length; index += 2) {
        const [first = 0, end = 0] = [bounds[index], bounds[index + 1]];
        variables.push({ fieldPath: `field_${index}`, first, end });
      }
      return { segments, variables };
    });
}

function shapeOf({ segments }: PathTemplate): string {
  return segments.map((segment) => (segment.kind === "literal" ? segment.text : segment.kind)).join("/");
}

function matchesNaively({ segments }: PathTemplate, path: string): boolean {
  const pattern = segments
    .map((segment) => (segment.kind === "literal" ? segment.text : segment.kind === "one" ? "[^/]+" : ".*"))
    .join("/");
  return new RegExp(`^/${pattern}$`).test(path);
}

const EXACTNESS = { literal: 0, one: 1, rest: 2 };

function compareExactness(left: PathTemplate, right: PathTemplate): number {
  for (const [index, segment] of left.segments.entries()) {
    const other = right.segments[index];
    if (other === undefined) return 0;
    const difference = EXACTNESS[segment.kind] - EXACTNESS[other.kind];
    if (difference !== 0) return difference;
  }
  return 0;
}

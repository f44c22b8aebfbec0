/** Page tokens: what they say, and what is refused. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import { checkIncarnation, pageLimit, readPageToken, writePageToken } from "../../src/kv/page-token.js";

describe("page tokens", () => {
  it("say after which item the next page begins, for that listing only", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string(), fc.string(), (after, listing, other) => {
        const token = writePageToken(listing, after);
        expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(readPageToken(token, listing)?.after).toBe(after);
        if (other !== listing) expect(() => readPageToken(token, other)).toThrow(KvError);
      }),
    );
  });

  it("are refused, not misread, whatever is given back", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String(),
          fc.json().map((text) => Buffer.from(text).toString("base64url")),
        ),
        (token) => {
          if (token === "") return;
          expect(() => readPageToken(token, "x")).toThrow(
            expect.objectContaining({ kind: "invalid_argument" }),
          );
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("are valid for the bucket that they were made in, not for a later one of its name", () => {
    const token = readPageToken(writePageToken("keys", "a", "2026-11-28T10:00:00Z"), "keys");
    checkIncarnation(token, "2026-11-28T10:00:00Z");
    checkIncarnation(undefined, "2026-11-28T10:00:00Z");
    expect(() => checkIncarnation(token, "2026-11-28T10:00:00.000000001Z")).toThrow(/deleted and recreated/);
  });

  it("come with a limit from 1 to the most; 0 asks for the most", () => {
    expect([0, 1, 7, 10].map((limit) => pageLimit(limit, 10))).toEqual([10, 1, 7, 10]);
    for (const limit of [-1, 11, 0.5, Number.NaN, Infinity])
      expect(() => pageLimit(limit, 10)).toThrow(KvError);
  });
});

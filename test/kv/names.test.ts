/** The escape of keys and the names of streams: every string there is must come out safe, and as itself. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import {
  bucketOfStream,
  checkBucketName,
  checkKey,
  escapeKey,
  isReservedBucketName,
  quote,
  storedBucketName,
  streamName,
  subjectOf,
  subjectPrefix,
  unescapeKey,
} from "../../src/kv/names.js";
import { runs } from "../support/extended.js";

/** What JetStream and NATS KV (ADR-8) take as a key. */
const LEGAL_STORED_KEY = /^[-/_=A-Za-z0-9]+(\.[-/_=A-Za-z0-9]+)*$/;
// eslint-disable-next-line no-control-regex
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;

/** Texts of every kind, with those that are dangerous in subjects far more often than by chance. */
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.string({
    unit: fc.constantFrom(
      ".",
      "*",
      ">",
      "=",
      "a",
      "0",
      "2",
      "E",
      " ",
      "\t",
      "\r",
      "\n",
      "\u0000",
      "$",
      "é",
      "🙂",
    ),
  }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
    .map((units) => String.fromCharCode(...units)),
);
const goodKey = anyText.filter((text) => isGoodKey(text));

function isGoodKey(text: string): boolean {
  return (
    text !== "" && text.isWellFormed() && !CONTROL_CHARACTER.test(text) && Buffer.byteLength(text) <= 512
  );
}

function refusalOf(call: () => unknown): KvError | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
}

describe("the stored form of keys", () => {
  it("exists for exactly the keys that are allowed; all others are refused with a sentence", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const refusal = refusalOf(() => escapeKey(text));
        expect(refusal === undefined).toBe(isGoodKey(text));
        expect(refusalOf(() => checkKey(text)) === undefined).toBe(isGoodKey(text));
        if (refusal !== undefined) {
          expect(refusal.kind).toBe("invalid_argument");
          expect(refusal.message).not.toMatch(CONTROL_CHARACTER);
          expect(refusal.message.length).toBeLessThan(300);
        }
      }),
      { numRuns: runs(2_000) },
    );
  });

  it("is a legal NATS KV key, and comes back as the key", () => {
    fc.assert(
      fc.property(goodKey, (key) => {
        const stored = escapeKey(key);
        expect(stored).toMatch(LEGAL_STORED_KEY);
        expect(unescapeKey(stored)).toBe(key);
      }),
      { numRuns: runs(5_000) },
    );
  });

  it("is shared by no two keys", () => {
    fc.assert(
      fc.property(goodKey, goodKey, (one, other) => {
        expect(escapeKey(one) === escapeKey(other)).toBe(one === other);
      }),
      { numRuns: runs(5_000) },
    );
  });

  it("is the key itself for every legal NATS KV key without '='", () => {
    const token = fc.string({
      unit: fc.constantFrom(...Array.from("abzAZ09-/_")),
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 6 }), (tokens) => {
        const key = tokens.join(".");
        expect(escapeKey(key)).toBe(key);
        expect(unescapeKey(key)).toBe(key);
      }),
    );
  });

  it("parts tokens where the key has a dot between two non-empty ones", () => {
    const token = goodKey.filter((text) => !text.includes(".") && Buffer.byteLength(text) < 100);
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 4 }), (tokens) => {
        expect(escapeKey(tokens.join(".")).split(".")).toEqual(tokens.map((text) => escapeKey(text)));
      }),
    );
  });

  it("stands for a key only if it is that key's form: nothing else is decoded", () => {
    const stored = fc.oneof(anyText, fc.string({ unit: fc.constantFrom(...Array.from("=.0234567E3AFfa")) }));
    fc.assert(
      fc.property(stored, (text) => {
        const key = unescapeKey(text);
        if (key !== undefined) expect(escapeKey(key)).toBe(text);
      }),
      { numRuns: runs(5_000) },
    );
  });

  it.each([
    ["user:123", "user=3A123"],
    ["a..b", "a.=2Eb"],
    [".", "=2E"],
    ["..", "=2E=2E"],
    [".a", "=2Ea"],
    ["a.", "a=2E"],
    ["a.*.>", "a.=2A.=3E"],
    ["=", "=3D"],
    ["é", "=C3=A9"],
    ["a b", "a=20b"],
    ["$JS", "=24JS"],
    ["a/b_c-d.E9", "a/b_c-d.E9"],
  ])("of %j is %s", (key, stored) => {
    expect(escapeKey(key)).toBe(stored);
    expect(unescapeKey(stored)).toBe(key);
  });

  it.each([
    "",
    ".",
    "a..b",
    "a.",
    "=",
    "=4",
    "=41",
    "=3a",
    "=FF",
    "a b",
    "é",
    "x".repeat(513),
    "=00",
    "a=2Eb",
  ])("%j stands for no key", (stored) => {
    expect(unescapeKey(stored)).toBeUndefined();
  });

  it("of the longest key stays well under the 4,096 bytes of a NATS control line", () => {
    const subject = subjectOf("b".repeat(64), "é".repeat(256));
    expect(`$JS.API.DIRECT.GET.${streamName("b".repeat(64))}.${subject}`.length).toBeLessThan(2_500);
  });
});

describe("subjects and streams", () => {
  const bucketName = fc.string({
    unit: fc.constantFrom(...Array.from("aZ09_-APSY")),
    minLength: 1,
    maxLength: 64,
  });

  it("stay within the bucket, whatever the key", () => {
    fc.assert(
      fc.property(bucketName, goodKey, (bucket, key) => {
        const subject = subjectOf(bucket, key);
        expect(subject.startsWith(`$KV.APP_${bucket}.`)).toBe(true);
        expect(subject).not.toMatch(/[*>\s]/);
        expect(subject.split(".")).not.toContain("");
        expect(subjectPrefix(bucket) + escapeKey(key)).toBe(subject);
      }),
    );
  });

  it("are made of nothing but bucket names", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, bucketName), (text) => {
        const isName = /^[A-Za-z0-9_-]{1,64}$/.test(text) && !text.includes("\n");
        for (const call of [checkBucketName, streamName, storedBucketName, subjectPrefix]) {
          const refusal = refusalOf(() => call(text));
          expect(refusal === undefined).toBe(isName);
          if (refusal !== undefined) expect(refusal.kind).toBe("invalid_argument");
        }
        if (isName) expect(bucketOfStream(streamName(text))).toBe(text);
      }),
      { numRuns: runs(2_000) },
    );
  });

  it.each(["a\n", "\na", "a.b", "a b", "*", ">", "", "a".repeat(65), "é", "a/b", "$JS"])(
    "refuse the bucket name %j",
    (name) => {
      expect(refusalOf(() => checkBucketName(name))?.kind).toBe("invalid_argument");
    },
  );

  it("keep the service's own buckets apart from those of users, whatever these are called", () => {
    expect(streamName("x", "SYS_")).toBe("KV_SYS_x");
    expect(subjectPrefix("x", "SYS_")).toBe("$KV.SYS_x.");
    for (const name of ["x", "SYS_x", "APP_x", "KV_SYS_x"]) expect(streamName(name)).toBe(`KV_APP_${name}`);
  });

  it.each(["KV_SYS_x", "KV_x", "APP_x", "KV_APP_", "KV_APP_a.b", "OBJ_APP_x", "kv_app_x", ""])(
    "%j is no user's bucket",
    (stream) => {
      expect(bucketOfStream(stream)).toBeUndefined();
    },
  );

  it.each([
    ["APP_", true],
    ["APP_x", true],
    ["SYS_x", true],
    ["APP", false],
    ["app_x", false],
    ["xAPP_", false],
    ["SYS-x", false],
  ])("whether %s is reserved: %s", (name, isReserved) => {
    expect(isReservedBucketName(name)).toBe(isReserved);
  });
});

describe("a quoted name", () => {
  it("shows control characters as escapes, and is cut where it is long", () => {
    expect(quote("a\n\u007f\u0085b")).toBe('"a\\n\\u007f\\u0085b"');
    expect(quote("x".repeat(81))).toBe(`"${"x".repeat(77)}..."`);
  });

  it("has no control character and is not long, whatever it names", () => {
    fc.assert(
      fc.property(
        fc.oneof(anyText, fc.string({ unit: "binary", minLength: 100, maxLength: 200 })),
        (text) => {
          expect(quote(text)).not.toMatch(CONTROL_CHARACTER);
          expect(quote(text).isWellFormed()).toBe(true);
          expect(quote(text).length).toBeLessThanOrEqual(80 * 6 + 2);
        },
      ),
    );
  });
});

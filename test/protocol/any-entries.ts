/** Arbitrary entries for property tests, with values at the limits of their types. */
import fc from "fast-check";
import type { Entry } from "../../src/kv/entry.js";

const REVISION_MAX = 2n ** 64n - 1n;
const TIME_MS_MIN = -62_135_596_800_000;
const TIME_MS_MAX = 253_402_300_799_999;

const text = fc.string({ unit: "grapheme", maxLength: 40 });
export const revision = fc.oneof(
  fc.bigInt({ min: 0n, max: REVISION_MAX }),
  fc.constantFrom(
    0n,
    1n,
    127n,
    128n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n + 1n,
    REVISION_MAX,
  ),
);
export const timeMs = fc.oneof(
  fc.integer({ min: TIME_MS_MIN, max: TIME_MS_MAX }),
  fc.constantFrom(0, -1, 999, 1_000, 1_700_000_000_000, TIME_MS_MIN, TIME_MS_MAX),
);

export const anEntry: fc.Arbitrary<Entry> = fc.record(
  {
    key: text,
    value: fc.uint8Array({ maxLength: 300 }),
    revision,
    createdAtMs: timeMs,
    createdAtNanos: fc.nat(999_999),
    operation: fc.constantFrom("put" as const, "delete" as const, "purge" as const, "expire" as const),
    contentType: fc.oneof(fc.constant(""), text),
    expiresAtMs: timeMs,
    metadata: fc.dictionary(
      text.filter((name) => name !== "__proto__"),
      text,
      { maxKeys: 4, noNullPrototype: true },
    ),
  },
  {
    requiredKeys: ["key", "value", "revision", "createdAtMs", "createdAtNanos", "operation", "contentType"],
  },
);

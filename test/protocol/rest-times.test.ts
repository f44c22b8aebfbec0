/** Times as REST, WebSockets and SSE write them. */
import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { writeTime } from "../../src/protocol/rest/json.js";

const time = (seconds: bigint, nanos: number): string =>
  writeTime(create(TimestampSchema, { seconds, nanos }));

describe("a time", () => {
  it("has the format of JavaScript if it is in whole milliseconds", () => {
    const dates = fc.date({
      min: new Date("0001-01-01T00:00:00Z"),
      max: new Date("9999-12-31T23:59:59.999Z"),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(dates, (date) => {
        const milliseconds = BigInt(date.getTime());
        const rest = ((milliseconds % 1_000n) + 1_000n) % 1_000n;
        expect(time((milliseconds - rest) / 1_000n, Number(rest) * 1_000_000)).toBe(date.toISOString());
      }),
      { numRuns: 2_000 },
    );
  });

  it("has nine fractional digits if it is not in whole milliseconds", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 999_999_999 }).filter((nanos) => nanos % 1_000_000 !== 0),
        (nanos) => {
          expect(time(1_795_429_774n, nanos)).toBe(
            `2026-11-23T10:29:34.${nanos.toString().padStart(9, "0")}Z`,
          );
        },
      ),
    );
  });

  it.each([
    [0n, 0, "1970-01-01T00:00:00.000Z"],
    [-1n, 999_000_000, "1969-12-31T23:59:59.999Z"],
    [951_868_799n, 1, "2000-02-29T23:59:59.000000001Z"],
    [-62_135_596_800n, 0, "0001-01-01T00:00:00.000Z"],
    [253_402_300_799n, 999_999_999, "9999-12-31T23:59:59.999999999Z"],
  ])("of %s seconds and %s nanoseconds is %s", (seconds, nanos, text) => {
    expect(time(seconds, nanos)).toBe(text);
  });
});

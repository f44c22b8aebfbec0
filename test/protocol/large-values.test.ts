/** Large values in JSON: the text is the same as of one that is encoded in one piece. */
import { describe, expect, it } from "vitest";
import { LargeValues } from "../../src/protocol/large-values.js";

describe("LargeValues", () => {
  it.each([0, 1, 16_384, 16_385, 24_575, 24_576, 24_577, 49_152, 100_000, 1_048_576])(
    "encodes a value of %d bytes as base64",
    (length) => {
      const large = new LargeValues();
      const value = Buffer.from(Array.from({ length }, (_, index) => (index * 7_919) % 256));
      const text = `{"first":"${large.base64(value)}","second":"${large.base64(value)}"}`;
      const encoded = value.toString("base64");
      expect(large.encode(text, 5).subarray(5).toString()).toBe(
        `{"first":"${encoded}","second":"${encoded}"}`,
      );
    },
  );
});

/** Settings that were renamed. */
import { describe, expect, it } from "vitest";
import { loadConfig } from "../src/config/config.js";

describe("a setting by its former name", () => {
  it.each([
    ["as a variable", { UNTAKEN_BYTES_MAX: "2000000" }, {}],
    ["as a flag", {}, { "untaken-bytes-max": "2000000" }],
  ])("is accepted with a warning %s", (_name, environment, flags) => {
    const { limits, warnings } = loadConfig(environment, flags);
    expect(limits.unsentResponseBytesMax).toBe(2_000_000);
    expect(warnings).toEqual([
      "UNTAKEN_BYTES_MAX is now named UNSENT_RESPONSE_BYTES_MAX: rename it, the next version refuses the old name.",
    ]);
  });

  it("gives way to the present name", () => {
    const { limits, warnings } = loadConfig({
      UNFINISHED_BYTES_MAX: "2000000",
      INCOMPLETE_REQUEST_BYTES_MAX: "3000000",
    });
    expect(limits.incompleteRequestBytesMax).toBe(3_000_000);
    expect(warnings).toEqual([]);
  });

  it("does not warn where only present names are used", () => {
    expect(loadConfig({}).warnings).toEqual([]);
  });
});

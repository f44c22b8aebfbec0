/** Large values in JSON: the text is the same as of one that is encoded in one piece. */
import { describe, expect, it } from "vitest";
import { bulkScheduler } from "../../src/kv/bulk-scheduler.js";
import { LargeValues } from "../../src/protocol/large-values.js";

/** The scheduler's bound for a turn while short calls come in. */
const TURN_BYTES_MAX = 262_144;

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

  it.each([0, 196_607, 196_608, 196_609, 1_048_576])(
    "encodes values of %d bytes in turns",
    async (length) => {
      const large = new LargeValues();
      const value = Buffer.from(Array.from({ length }, (_, index) => (index * 7_919) % 256));
      const text = `["${large.base64(value)}","${large.base64(value)}"]`;
      const inTurns = await large.encodeInTurns(text, "caller", 5);
      expect(inTurns.subarray(5).equals(large.encode(text))).toBe(true);
    },
  );

  it("lets short calls be served between parts of 192 KiB", async () => {
    const large = new LargeValues();
    const text = `"${large.base64(Buffer.alloc(3 * 1_048_576))}"`;
    // A turn has room for one part while short calls come in.
    bulkScheduler.noteShortCall();
    let turns = 0;
    let isEncoded = false;
    const nextTurn = (): void => {
      turns++;
      bulkScheduler.noteShortCall();
      if (!isEncoded) setImmediate(nextTurn);
    };
    setImmediate(nextTurn);
    bulkScheduler.turnBytesPeak = 0;
    await large.encodeInTurns(text, "caller");
    isEncoded = true;
    expect(turns).toBeGreaterThanOrEqual(16);
    expect(bulkScheduler.turnBytesPeak).toBeLessThanOrEqual(TURN_BYTES_MAX);
  });
});

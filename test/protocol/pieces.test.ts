/** Bodies that come in pieces. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Pieces } from "../../src/protocol/pieces.js";

describe("the pieces of a body", () => {
  it("are one whole in the end, however long each is, and again after that", () => {
    const length = fc.oneof(
      fc.nat(5),
      fc.nat(5_000),
      fc.integer({ min: 16_380, max: 16_390 }),
      fc.nat(50_000),
    );
    const body = fc.array(length, { maxLength: 30 });
    fc.assert(
      fc.property(body, body, (...bodies) => {
        const pieces = new Pieces();
        let next = 0;
        for (const lengths of bodies) {
          const chunks = lengths.map((bytes) => Buffer.alloc(bytes, ++next));
          for (const chunk of chunks) pieces.add(chunk);
          expect(pieces.bytes).toBe(lengths.reduce((sum, bytes) => sum + bytes, 0));
          expect(pieces.takeAll().equals(Buffer.concat(chunks))).toBe(true);
          expect(pieces.bytes).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("that are small are copied, so that what was read with them is not held", () => {
    const pieces = new Pieces();
    pieces.add(Buffer.from("first"));
    const read = Buffer.from("-second");
    pieces.add(read);
    read.fill("x");
    expect(pieces.takeAll().toString()).toBe("first-second");
  });

  it("is not copied where it is alone", () => {
    const pieces = new Pieces();
    const chunk = Buffer.from("alone");
    pieces.add(chunk);
    expect(pieces.takeAll()).toBe(chunk);
  });
});

/** Buffering of bodies that arrive in chunks. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Pieces } from "../../src/protocol/pieces.js";

describe("the chunks of a body", () => {
  it("are concatenated, whatever their sizes, and the buffer is reusable", () => {
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

  it("are copied if small, so they do not retain their read buffers", () => {
    const pieces = new Pieces();
    pieces.add(Buffer.from("first"));
    const read = Buffer.from("-second");
    pieces.add(read);
    read.fill("x");
    expect(pieces.takeAll().toString()).toBe("first-second");
  });

  it("are not copied if there is only one", () => {
    const pieces = new Pieces();
    const chunk = Buffer.from("alone");
    pieces.add(chunk);
    expect(pieces.takeAll()).toBe(chunk);
  });
});

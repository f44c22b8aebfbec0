/** Frames are the same however the bytes arrive. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { FrameReader } from "../src/frame-reader.js";
import { frame, PREFACE } from "./raw-session.js";

it("finds the frames, wherever the bytes are cut", () => {
  const frames = fc.array(
    fc.tuple(fc.nat(255), fc.nat(255), fc.nat(0x7fffffff), fc.uint8Array({ maxLength: 60 })),
  );
  fc.assert(
    fc.property(frames, fc.array(fc.nat(40), { minLength: 1 }), (sent, lengths) => {
      const bytes = Buffer.concat([PREFACE, ...sent.map((one) => frame(...one))]);
      const seen: unknown[] = [];
      const reader = new FrameReader((type, flags, streamId, chunk, start, end) => {
        seen.push([type, flags, streamId, Uint8Array.from(chunk.subarray(start, end))]);
        return true;
      });
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const length = 1 + (lengths[turn % lengths.length] ?? 0);
        reader.push(bytes.subarray(at, at + length));
        at += length;
      }
      expect(seen).toEqual(
        sent.map(([type, flags, id, payload]) => [type, flags, id, Uint8Array.from(payload)]),
      );
    }),
  );
});

it("stops in the middle of a chunk when nobody wants more", () => {
  let taken = 0;
  const reader = new FrameReader(() => ++taken < 2);
  reader.push(Buffer.concat([PREFACE, frame(4, 0, 0), frame(6, 0, 0), frame(6, 0, 0)]));
  expect(taken).toBe(2);
});

it.each([
  ["another preface", Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")],
  [
    "a frame larger than agreed upon",
    Buffer.concat([PREFACE, frame(0, 0, 1, Buffer.alloc(16_385)).subarray(0, 9)]),
  ],
])("refuses %s", (_name, bytes) => {
  expect(() => new FrameReader(() => true).push(bytes)).toThrow();
});

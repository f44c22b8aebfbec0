/** Padding of DATA and HEADERS: RFC 9113 section 6.1. */
import { Flag } from "./codes.js";
import { frameSizeError, protocolError } from "./errors.js";

/** The range of the content of a frame. */
export function withoutPadding(flags: number, bytes: Buffer, start: number, end: number): [number, number] {
  if ((flags & Flag.padded) === 0) return [start, end];
  if (start === end) throw frameSizeError("A padded frame");
  const padding = bytes[start] ?? 0;
  if (start + 1 + padding > end) throw protocolError("The padding exceeds the frame.");
  return [start + 1, end - padding];
}

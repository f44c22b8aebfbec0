/** Padding of DATA and HEADERS: https://www.rfc-editor.org/rfc/rfc9113 section 6.1. */
import { Flag } from "./codes.js";
import { violation, wrongSize } from "./violations.js";

/** Where the content of a frame begins and ends. */
export function withoutPadding(flags: number, bytes: Buffer, start: number, end: number): [number, number] {
  if ((flags & Flag.padded) === 0) return [start, end];
  if (start === end) throw wrongSize("A padded frame");
  const padding = bytes[start] ?? 0;
  if (start + 1 + padding > end) throw violation("There is more padding than frame.");
  return [start + 1, end - padding];
}

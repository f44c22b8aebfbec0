/** How many bytes the strings of a request head take. */
import type { IncomingMessage } from "node:http";

/** What a field takes in V8's heap beside its name and value, as measured with 990 fields of 1 byte. */
const FIELD_OVERHEAD_BYTES = 80;
const LF = 0x0a;

/** Of a parsed head. */
export function headBytesOf({ url = "", rawHeaders }: IncomingMessage): number {
  const overhead = (rawHeaders.length / 2) * FIELD_OVERHEAD_BYTES;
  return rawHeaders.reduce((bytes, text) => bytes + text.length, url.length + overhead);
}

/** At most, of a head, or a part of one, that is not parsed yet. */
export function unparsedHeadBytesOf(head: Buffer): number {
  let bytes = head.length;
  for (let at = head.indexOf(LF); at >= 0; at = head.indexOf(LF, at + 1)) bytes += FIELD_OVERHEAD_BYTES;
  return bytes;
}

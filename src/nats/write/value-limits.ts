/** What a value and its content type may be. */
import { invalidArgument, KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { quote } from "../../kv/names.js";
import { aboutOf, type KeyPlace } from "../read/entries.js";
import { CONTENT_TYPE_HEADER } from "../streams/records.js";
import { HEADER_BYTES_MAX } from "../streams/stream-config.js";

const CONTENT_TYPE = /^[\x20-\x7e]*$/;

/** The largest value that the service and its storage take, in bytes. */
export function valueBytesMaxOf(options: {
  readonly limits: Limits;
  readonly maxPayloadBytes: number;
}): number {
  return Math.min(options.limits.valueBytesMax, options.maxPayloadBytes - HEADER_BYTES_MAX);
}

/** The header of a content type; none for an empty one. Throws `invalid_argument`. */
export function contentTypeLine(contentType: string, limits: Limits): string {
  if (contentType === "") return "";
  if (contentType.length <= limits.contentTypeBytesMax && CONTENT_TYPE.test(contentType)) {
    return `${CONTENT_TYPE_HEADER}: ${contentType}\r\n`;
  }
  throw invalidArgument(
    `The content type ${quote(contentType)} is malformed; it must be up to ${limits.contentTypeBytesMax} printable ASCII characters.`,
  );
}

export function tooLarge(place: KeyPlace, bytes: number, most: number, whose: string): KvError {
  return new KvError(
    "value_too_large",
    `The value has ${bytes} bytes; ${whose} takes at most ${most}.`,
    aboutOf(place),
  );
}

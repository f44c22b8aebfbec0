/** What a value, its content type, metadata and TTL may be, and the headers that they are stored in. */
import { invalidArgument, KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { checkMetadata } from "../../kv/metadata.js";
import { quote } from "../../kv/names.js";
import type { PutOptions } from "../../kv/writes.js";
import { aboutOf, type KeyPlace } from "../read/entries.js";
import { LIFETIME_HEADER } from "../streams/lifetime.js";
import { encodeMetadata, METADATA_HEADER } from "../streams/metadata.js";
import { CONTENT_TYPE_HEADER } from "../streams/records.js";
import { HEADER_BYTES_MAX } from "../streams/stream-config.js";
import { ROLLUP_LINE } from "./tombstone-headers.js";

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

/** The headers of a value, without its message id and conditions. */
export interface ValueHeaders {
  readonly headerLines: string;
  readonly metadataBytes: number;
  readonly hasTtl: boolean;
}

/** The headers for the options of a put. Throws `invalid_argument`. */
export function valueHeaders(
  { contentType = "", metadata, ttlMs }: Pick<PutOptions, "contentType" | "metadata" | "ttlMs">,
  limits: Limits,
): ValueHeaders {
  const line = metadataLine(metadata, limits);
  const ttl = ttlLines(ttlMs, limits);
  // The TTL comes last: it ends in a roll-up, which marks the message (writer.ts).
  const headerLines = contentTypeLine(contentType, limits) + line + ttl;
  return { headerLines, metadataBytes: line.length, hasTtl: ttl !== "" };
}

/** The header of metadata; none for no pairs. Throws `invalid_argument`. */
export function metadataLine(metadata: PutOptions["metadata"], limits: Limits): string {
  if (metadata === undefined) return "";
  checkMetadata(metadata, limits);
  const text = encodeMetadata(metadata);
  return text === "" ? "" : `${METADATA_HEADER}: ${text}\r\n`;
}

/**
 * The headers of a TTL; none for undefined. Throws `invalid_argument`. The value also removes the key's earlier ones, which it replaces in a
 * history of 1 anyway: if the history becomes deeper while it is written, no earlier value is left to come back when it expires.
 */
export function ttlLines(ttlMs: number | undefined, limits: Limits): string {
  if (ttlMs === undefined) return "";
  const { ttlMsMin, ttlMsMax } = limits;
  if (!(ttlMs >= ttlMsMin && ttlMs <= ttlMsMax)) {
    throw invalidArgument(
      `The ttl is ${ttlMs / 1_000} seconds; it must be ${ttlMsMin / 1_000} to ${ttlMsMax / 1_000} seconds. Omit it for a value that does not expire.`,
    );
  }
  return `${LIFETIME_HEADER}: ${Math.ceil(ttlMs / 1_000)}\r\n${ROLLUP_LINE}`;
}

export function ttlNotSupported(place: KeyPlace, history: number): KvError {
  return new KvError(
    "ttl_not_supported",
    `The bucket ${quote(place.bucket)} keeps ${history} revisions of each key; a ttl needs a bucket with a history of 1, because an expired value would uncover the one before it.`,
    aboutOf(place),
  );
}

/** `metadataBytes`: of the stored metadata, which counts towards the limit. */
export function tooLarge(
  place: KeyPlace,
  bytes: number,
  most: number,
  whose: string,
  metadataBytes = 0,
): KvError {
  const metadata = metadataBytes === 0 ? "" : ` with ${metadataBytes} bytes of metadata`;
  return new KvError(
    "value_too_large",
    `The value has ${bytes} bytes${metadata}; ${whose} takes at most ${most}${metadata === "" ? "" : " in all"}.`,
    aboutOf(place),
  );
}

/**
 * Measures how many items fit on a page. Items are measured as JSON, with escaped text, base64 bytes and field names: this is never shorter
 * than protobuf, which makes one measure valid for every protocol.
 */
import type { BucketInfo } from "./bucket.js";
import type { Entry } from "./entry.js";

/** Bytes of a page besides its items, such as the next page's token. */
const PAGE_FRAME_BYTES = 2_048;
/** Bytes of an entry and a bucket besides their text and values: field names, numbers, times. */
const ENTRY_FRAME_BYTES = 288;
const METADATA_FRAME_BYTES = 16;
const PAIR_FRAME_BYTES = 2;
const BUCKET_FRAME_BYTES = 512;

/** The remaining capacity of one page. */
export class PageRoom {
  private items = 0;
  private bytes = PAGE_FRAME_BYTES;

  constructor(
    private readonly itemsMax: number,
    private readonly bytesMax: number,
  ) {}

  /** Adds an item; returns false if it does not fit. The first item always fits: an empty page would not advance the listing. */
  take(itemBytes: number): boolean {
    if (this.itemsLeft === 0 || (this.items > 0 && this.bytes + itemBytes > this.bytesMax)) return false;
    this.items++;
    this.bytes += itemBytes;
    return true;
  }

  get itemsLeft(): number {
    return this.itemsMax - this.items;
  }

  get bytesLeft(): number {
    return Math.max(0, this.bytesMax - this.bytes);
  }
}

/** Text that JSON writes as it is, one byte a character. */
const NEEDS_NO_ESCAPE = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** The bytes of a text in JSON, including a trailing comma. */
export function jsonBytes(text: string): number {
  if (NEEDS_NO_ESCAPE.test(text)) return text.length + 3;
  return Buffer.byteLength(JSON.stringify(text)) + 1;
}

/** The bytes of a key in a list of keys. */
export const keyJsonBytes = jsonBytes;

/** The bytes of an entry in a history. */
export function entryJsonBytes({ key, value, contentType, metadata }: Entry): number {
  const text =
    jsonBytes(key) + jsonBytes(contentType) + (metadata === undefined ? 0 : metadataJsonBytes(metadata));
  return ENTRY_FRAME_BYTES + text + 4 * Math.ceil(value.length / 3);
}

/** Protobuf needs up to eight bytes a pair besides its text, as many as JSON with its quotes and colon. */
function metadataJsonBytes(metadata: Readonly<Record<string, string>>): number {
  let bytes = METADATA_FRAME_BYTES;
  for (const name in metadata)
    bytes += jsonBytes(name) + jsonBytes(metadata[name] as string) + PAIR_FRAME_BYTES;
  return bytes;
}

/** The bytes of a bucket in a list of buckets. */
export function bucketJsonBytes({ name, description }: BucketInfo): number {
  return BUCKET_FRAME_BYTES + jsonBytes(name) + jsonBytes(description);
}

/**
 * How much fits on a page of an answer. Items are counted in JSON, where text is escaped, bytes are base64 and each field has its name: that
 * form is never shorter than protobuf, so one count holds for every protocol.
 */
import type { BucketInfo, Entry } from "./store.js";

/** What a page has beside its items, such as the token of the next page. */
const PAGE_FRAME_BYTES = 2_048;
/** What an entry and a bucket have beside their texts and bytes: names of fields, numbers, times. */
const ENTRY_FRAME_BYTES = 224;
const BUCKET_FRAME_BYTES = 512;

/** The room on one page. */
export class PageRoom {
  private items = 0;
  private bytes = PAGE_FRAME_BYTES;

  constructor(
    private readonly itemsMax: number,
    private readonly bytesMax: number,
  ) {}

  /** Takes room for an item; false where there is none. The first item always gets room: without one the next page would be the same. */
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

/** The bytes of a text in JSON, with the comma behind it. */
export function jsonBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) + 1;
}

/** The bytes of a key in a list of keys. */
export const keyJsonBytes = jsonBytes;

/** The bytes of an entry in a history. */
export function entryJsonBytes({ key, value, contentType }: Entry): number {
  return ENTRY_FRAME_BYTES + jsonBytes(key) + jsonBytes(contentType) + 4 * Math.ceil(value.length / 3);
}

/** The bytes of a bucket in a list of buckets. */
export function bucketJsonBytes({ name, description }: BucketInfo): number {
  return BUCKET_FRAME_BYTES + jsonBytes(name) + jsonBytes(description);
}

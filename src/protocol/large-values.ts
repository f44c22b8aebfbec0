/**
 * Large values in JSON. A string of megabytes is copied and scanned several times until it is bytes on a socket, all in one turn of the event
 * loop. So the text gets a NUL for each large value, which JSON has nowhere else, and the base64 is written in its place, once.
 */

/** Larger values are kept out of the text. */
const INLINE_BYTES_MAX = 16_384;
const PLACEHOLDER = "\0";
/**
 * Bytes that are encoded at a time; three of them make four characters. Longer texts are not in the young part of the heap, and take three times
 * as long to make and to collect.
 */
const ENCODED_BYTES = 24_576;

export class LargeValues {
  private readonly values: Buffer[] = [];

  /** The value in base64, or its placeholder. */
  base64(value: Uint8Array): string {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    if (bytes.length <= INLINE_BYTES_MAX) return bytes.toString("base64");
    this.values.push(bytes);
    return PLACEHOLDER;
  }

  /** Whether the text has placeholders. */
  get isNeeded(): boolean {
    return this.values.length > 0;
  }

  /** The text in UTF-8 with the values in their places, after `headBytes` free bytes. They are in the order of the calls of `base64`. */
  encode(text: string, headBytes = 0): Buffer {
    const texts = text.split(PLACEHOLDER).map((part) => Buffer.from(part));
    let bytes = headBytes;
    for (const part of texts) bytes += part.length;
    for (const value of this.values) bytes += base64Length(value);
    const encoded = Buffer.allocUnsafe(bytes);
    let at = headBytes;
    for (const [index, part] of texts.entries()) {
      encoded.set(part, at);
      at += part.length;
      const value = this.values[index];
      if (value !== undefined) at += writeBase64(value, encoded, at);
    }
    return encoded;
  }
}

/** Returns the number of bytes written. */
function writeBase64(value: Buffer, target: Buffer, at: number): number {
  let end = at;
  for (let start = 0; start < value.length; start += ENCODED_BYTES) {
    const text = value.toString("base64", start, start + ENCODED_BYTES);
    end += target.write(text, end, "latin1");
  }
  return end - at;
}

function base64Length(value: Buffer): number {
  return 4 * Math.ceil(value.length / 3);
}

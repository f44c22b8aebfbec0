/**
 * Large values in JSON. A string of megabytes is copied and scanned several times until it is bytes on a socket, all in one turn of the event
 * loop. So the text gets a NUL for each large value, which JSON has nowhere else, and the base64 is written in its place, once.
 */
import { bulkScheduler } from "../kv/bulk-scheduler.js";

/** Larger values are kept out of the text. */
const INLINE_BYTES_MAX = 16_384;
const PLACEHOLDER = "\0";
/**
 * Bytes that are encoded at a time; three of them make four characters. Longer texts are not in the young part of the heap, and take three times
 * as long to make and to collect.
 */
const ENCODED_BYTES = 24_576;
/** Bytes of values that one turn of the event loop encodes: half a millisecond's work. */
const TURN_BYTES = 8 * ENCODED_BYTES;

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
    if (!this.isNeeded) return encodeText(text, headBytes);
    const { encoded, places } = this.layOut(text, headBytes);
    for (const { value, at } of places) writeBase64(value, encoded, at);
    return encoded;
  }

  /** The same, a part in each turn of the event loop, so that short calls are served meanwhile. `flow`: whose answer it is. */
  encodeInTurns(text: string, flow: unknown, headBytes = 0): Buffer | Promise<Buffer> {
    const bytes = this.values.reduce((sum, value) => sum + value.length, 0);
    return bytes <= TURN_BYTES ? this.encode(text, headBytes) : this.encodeParts(text, flow, headBytes);
  }

  private async encodeParts(text: string, flow: unknown, headBytes: number): Promise<Buffer> {
    const { encoded, places } = this.layOut(text, headBytes);
    for (const { value, at } of places) {
      for (let start = 0; start < value.length; start += TURN_BYTES) {
        const part = value.subarray(start, start + TURN_BYTES);
        await bulkScheduler.turn(flow, part.length);
        writeBase64(part, encoded, at + base64Length(start));
      }
    }
    return encoded;
  }

  /** Writes the text, and leaves the places of the values free. */
  private layOut(text: string, headBytes: number): Layout {
    const texts = text.split(PLACEHOLDER).map((part) => Buffer.from(part));
    let bytes = headBytes;
    for (const part of texts) bytes += part.length;
    for (const value of this.values) bytes += base64Length(value.length);
    const encoded = Buffer.allocUnsafe(bytes);
    const places: Place[] = [];
    let at = headBytes;
    for (const [index, part] of texts.entries()) {
      encoded.set(part, at);
      at += part.length;
      const value = this.values[index];
      if (value === undefined) continue;
      places.push({ value, at });
      at += base64Length(value.length);
    }
    return { encoded, places };
  }
}

function encodeText(text: string, headBytes: number): Buffer {
  const encoded = Buffer.allocUnsafe(headBytes + Buffer.byteLength(text));
  encoded.write(text, headBytes);
  return encoded;
}

interface Place {
  readonly value: Buffer;
  readonly at: number;
}

interface Layout {
  readonly encoded: Buffer;
  readonly places: readonly Place[];
}

function writeBase64(value: Buffer, target: Buffer, at: number): void {
  let end = at;
  for (let start = 0; start < value.length; start += ENCODED_BYTES) {
    const text = value.toString("base64", start, start + ENCODED_BYTES);
    end += target.write(text, end, "latin1");
  }
}

/** The length of so many bytes in base64. */
function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3);
}

/** Reads protobuf's wire format: https://protobuf.dev/programming-guides/encoding/. Throws {@link UNSUPPORTED} for whatever is malformed or rare. */
import { getTextEncoding } from "@bufbuild/protobuf/wire";
import { UNSUPPORTED } from "./field-kinds.js";

export class WireReader {
  private bytes: Buffer = Buffer.alloc(0);
  private position = 0;
  private end = 0;

  reset(bytes: Buffer): void {
    this.bytes = bytes;
    this.position = 0;
    this.end = bytes.length;
  }

  /** Whether the current message has been read. */
  get isAtEnd(): boolean {
    return this.position === this.end;
  }

  /** Begins a nested message. Returns the end of the current one, for `leave`. */
  enter(): number {
    const length = this.uint32();
    const outerEnd = this.end;
    this.end = this.position + length;
    if (this.end > outerEnd) throw UNSUPPORTED;
    return outerEnd;
  }

  leave(outerEnd: number): void {
    this.end = outerEnd;
  }

  /** An integer below 2^32, in at most five bytes. */
  uint32(): number {
    let byte = this.byte();
    if (byte < 128) return byte;
    let value = byte & 127;
    for (let shift = 7; shift < 28; shift += 7) {
      byte = this.byte();
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    byte = this.byte();
    if (byte > 15) throw UNSUPPORTED;
    return (value | (byte << 28)) >>> 0;
  }

  /** An integer of 0 to 2^31 - 1. */
  positiveInt32(): number {
    const value = this.uint32();
    if ((value | 0) !== value) throw UNSUPPORTED;
    return value;
  }

  /** An integer of 0 to 2^49 - 1, in at most seven bytes. */
  bigint(): bigint {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 7; count++) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return BigInt(value);
      scale *= 128;
    }
    throw UNSUPPORTED;
  }

  bool(): boolean {
    const byte = this.byte();
    if (byte > 1) throw UNSUPPORTED;
    return byte === 1;
  }

  /** A part of the input. */
  data(): Uint8Array {
    const length = this.uint32();
    const start = this.advance(length);
    return new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + start, length);
  }

  /** Text; `isStrict`: throws for bytes that are not UTF-8, as the library does. */
  text(isStrict: boolean): string {
    const length = this.uint32();
    const start = this.advance(length);
    if (length === 0) return "";
    const { bytes, position } = this;
    for (let at = start; at < position; at++) {
      if ((bytes[at] ?? 0) > 127) {
        return getTextEncoding().decodeUtf8(bytes.subarray(start, position), isStrict);
      }
    }
    return bytes.toString("latin1", start, position);
  }

  private byte(): number {
    if (this.position >= this.end) throw UNSUPPORTED;
    return this.bytes[this.position++] ?? 0;
  }

  /** Skips bytes. Returns where they start. */
  private advance(length: number): number {
    const start = this.position;
    this.position += length;
    if (this.position > this.end) throw UNSUPPORTED;
    return start;
  }
}

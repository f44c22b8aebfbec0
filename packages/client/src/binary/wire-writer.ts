/**
 * Writes protobuf's wire format backwards: a nested message is written before its length, so that no length is computed in advance. Throws
 * {@link UNSUPPORTED} for what does not fit into its buffer. https://protobuf.dev/programming-guides/encoding/
 */
import { UNSUPPORTED } from "./field-kinds.js";

/** A larger message is the library's: copying its value costs more than encoding the rest. */
const BYTES_MAX = 65_536;
const VARINT_BYTES_MAX = 10;
const SHORT_CHARS_MAX = 48;

export class WireWriter {
  private readonly bytes = Buffer.allocUnsafeSlow(BYTES_MAX);
  /** The index of the first byte written. */
  private position = BYTES_MAX;

  /** The bytes written so far. */
  get length(): number {
    return BYTES_MAX - this.position;
  }

  reset(): void {
    this.position = BYTES_MAX;
  }

  /** A copy of the written bytes, after `headBytes` bytes for the caller to fill. */
  take(headBytes: number): Uint8Array {
    const copy = Buffer.allocUnsafe(headBytes + this.length);
    this.bytes.copy(copy, headBytes, this.position);
    return copy;
  }

  data(value: Uint8Array): void {
    this.reserve(value.length);
    this.position -= value.length;
    this.bytes.set(value, this.position);
  }

  /** Text as UTF-8. */
  text(value: string): void {
    if (value.length <= SHORT_CHARS_MAX && this.shortAscii(value)) return;
    const length = Buffer.byteLength(value);
    this.reserve(length);
    this.position -= length;
    this.bytes.write(value, this.position, length);
  }

  /** An integer below 2^32. */
  varint(value: number): void {
    this.reserve(VARINT_BYTES_MAX);
    let size = 1;
    for (let rest = value >>> 7; rest !== 0; rest >>>= 7) size++;
    this.position -= size;
    let rest = value;
    let at = this.position;
    for (; rest > 127; rest >>>= 7) this.bytes[at++] = (rest & 127) | 128;
    this.bytes[at] = rest;
  }

  /** An integer of 64 bits, in two's complement. */
  bigint(value: bigint): void {
    if (value >= 0n && value <= 0xffff_ffffn) {
      this.varint(Number(value));
      return;
    }
    this.reserve(VARINT_BYTES_MAX);
    const groups: number[] = [];
    for (let rest = BigInt.asUintN(64, value); rest > 0n; rest >>= 7n) groups.push(Number(rest & 127n));
    for (let index = groups.length - 1; index >= 0; index--) {
      this.bytes[--this.position] = (groups[index] ?? 0) | (index === groups.length - 1 ? 0 : 128);
    }
  }

  /** Writes ASCII text; returns false for other text. Faster than `Buffer.write` for short text. */
  private shortAscii(value: string): boolean {
    this.reserve(value.length);
    const start = this.position - value.length;
    for (let index = 0; index < value.length; index++) {
      const code = value.charCodeAt(index);
      if (code > 127) return false;
      this.bytes[start + index] = code;
    }
    this.position = start;
    return true;
  }

  private reserve(bytes: number): void {
    if (this.position < bytes) throw UNSUPPORTED;
  }
}

/**
 * Writes protobuf's wire format backwards: a nested message is written before its length prefix, so no length is computed in advance and no
 * bytes are moved. https://protobuf.dev/programming-guides/encoding/
 */

const BYTES_AT_START = 65_536;
/** A scratch buffer larger than this is not kept for the next message. */
const BYTES_KEPT_MAX = 1_048_576;
const SHORT_CHARS_MAX = 32;
const TWO_POW_32 = 4_294_967_296;

export class BackwardWriter {
  private scratch = Buffer.allocUnsafeSlow(BYTES_AT_START);
  /** The index of the first byte written. */
  private position = BYTES_AT_START;

  /** The bytes written so far. */
  get length(): number {
    return this.scratch.length - this.position;
  }

  /** Starts a new message. */
  reset(): void {
    if (this.scratch.length > BYTES_KEPT_MAX) this.scratch = Buffer.allocUnsafeSlow(BYTES_AT_START);
    this.position = this.scratch.length;
  }

  /** A copy of the written bytes, after `headBytes` bytes for the caller to fill. */
  take(headBytes: number): Buffer {
    const bytes = Buffer.allocUnsafe(headBytes + this.length);
    this.scratch.copy(bytes, headBytes, this.position);
    return bytes;
  }

  bytes(value: Uint8Array): void {
    this.reserve(value.length);
    this.position -= value.length;
    this.scratch.set(value, this.position);
  }

  /** Text as UTF-8. */
  string(value: string): void {
    if (value.length > SHORT_CHARS_MAX || !this.shortAscii(value)) {
      const bytes = Buffer.byteLength(value);
      this.reserve(bytes);
      this.position -= bytes;
      this.scratch.write(value, this.position, bytes);
    }
  }

  /** Writes ASCII text; returns false for other text. Faster than `Buffer.write` for short strings. */
  private shortAscii(value: string): boolean {
    this.reserve(value.length);
    const start = this.position - value.length;
    for (let index = 0; index < value.length; index++) {
      const code = value.charCodeAt(index);
      if (code > 127) return false;
      this.scratch[start + index] = code;
    }
    this.position = start;
    return true;
  }

  /** An integer, 0 to 2^32 - 1. */
  varint(value: number): void {
    let size = 1;
    for (let rest = value >>> 7; rest !== 0; rest >>>= 7) size++;
    this.reserve(size);
    this.position -= size;
    let rest = value;
    let at = this.position;
    for (; rest > 127; rest >>>= 7) this.scratch[at++] = (rest & 127) | 128;
    this.scratch[at] = rest;
  }

  /** An integer in two's complement, -2^31 to 2^31 - 1: negative ones take ten bytes. */
  signedVarint(value: number): void {
    if (value >= 0) this.varint(value);
    else this.varint64(value >>> 0, 0xffff_ffff);
  }

  /** An integer, 0 to 2^53 - 1. */
  safeVarint(value: number): void {
    if (value < TWO_POW_32) this.varint(value);
    else this.varint64(value % TWO_POW_32, Math.floor(value / TWO_POW_32));
  }

  /** An integer, -2^63 to 2^64 - 1. */
  bigVarint(value: bigint): void {
    if (value >= 0n && value <= Number.MAX_SAFE_INTEGER) {
      this.safeVarint(Number(value));
      return;
    }
    const wrapped = BigInt.asUintN(64, value);
    this.varint64(Number(wrapped & 0xffff_ffffn), Number(wrapped >> 32n));
  }

  /** A number of 64 bits, of which the high 32 are not all zero. */
  private varint64(low: number, high: number): void {
    this.reserve(10);
    // Seven bits at a time: four groups from the low half, one across both, up to five from the high half.
    const groups = [
      low & 127,
      (low >>> 7) & 127,
      (low >>> 14) & 127,
      (low >>> 21) & 127,
      ((low >>> 28) | (high << 4)) & 127,
      (high >>> 3) & 127,
      (high >>> 10) & 127,
      (high >>> 17) & 127,
      (high >>> 24) & 127,
      high >>> 31,
    ];
    let last = 9;
    while (groups[last] === 0) last--;
    for (let index = last; index >= 0; index--) {
      this.scratch[--this.position] = (groups[index] ?? 0) | (index === last ? 0 : 128);
    }
  }

  /** Grows the buffer to hold this many more bytes. */
  private reserve(bytes: number): void {
    if (this.position >= bytes) return;
    const written = this.length;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.scratch.length, written + bytes));
    const position = larger.length - written;
    this.scratch.copy(larger, position, this.position);
    this.scratch = larger;
    this.position = position;
  }
}

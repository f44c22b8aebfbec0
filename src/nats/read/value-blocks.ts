/** Copies values into blocks of memory: one allocation for many small ones. */

const BLOCK_BYTES = 65_536;
/** A larger value gets memory of its own. */
const SMALL_BYTES_MAX = 4_096;

export class ValueBlocks {
  private block = new Uint8Array(0);
  private used = 0;

  /** A copy of the bytes from `start` to before `end`. */
  copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    if (length > SMALL_BYTES_MAX) return new Uint8Array(bytes.subarray(start, end));
    if (this.used + length > this.block.length) {
      this.block = new Uint8Array(BLOCK_BYTES);
      this.used = 0;
    }
    const copy = this.block.subarray(this.used, this.used + length);
    copy.set(bytes.subarray(start, end));
    this.used += length;
    return copy;
  }
}

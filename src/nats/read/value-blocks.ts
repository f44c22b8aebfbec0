/** Copies values into blocks of memory: one allocation for many small ones. */

/** Each block has twice the size of the one before, up to the maximum: a read of one value takes little more memory than it needs. */
const BLOCK_BYTES_MIN = 4_096;
const BLOCK_BYTES_MAX = 65_536;
/** A larger value gets memory of its own. */
const SMALL_BYTES_MAX = BLOCK_BYTES_MIN;

export class ValueBlocks {
  private block = new Uint8Array(0);
  private used = 0;

  /** A copy of the bytes from `start` to before `end`. */
  copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    if (length > SMALL_BYTES_MAX) return new Uint8Array(bytes.subarray(start, end));
    if (this.used + length > this.block.length) {
      const bytes = Math.max(BLOCK_BYTES_MIN, 2 * this.block.length);
      this.block = new Uint8Array(Math.min(BLOCK_BYTES_MAX, bytes));
      this.used = 0;
    }
    const copy = this.block.subarray(this.used, this.used + length);
    copy.set(bytes.subarray(start, end));
    this.used += length;
    return copy;
  }
}

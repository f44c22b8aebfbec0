/** Copies of values, by place, in blocks of memory: many small ones share one. Each takes 16 bytes beside its own. */

/** Each block has twice the size of the one before, up to the maximum: a read of one value takes little more memory than it needs. */
const BLOCK_BYTES_MIN = 4_096;
const BLOCK_BYTES_MAX = 65_536;
/** A larger value gets memory of its own. */
const SMALL_BYTES_MAX = BLOCK_BYTES_MIN;
const NONE = 0;

export class KeptValues {
  private readonly blocks: Uint8Array[] = [];
  /** The one that small values are added to, and its number. */
  private block = new Uint8Array(0);
  private blockNumber = NONE;
  private used = 0;
  /** By place: the number of its block, from 1 on; 0: it has no value. */
  private readonly blockNumbers: Uint32Array;
  private readonly starts: Uint32Array;
  private readonly lengths: Uint32Array;
  private readonly nanos: Uint32Array;

  constructor(count: number) {
    this.blockNumbers = new Uint32Array(count);
    this.starts = new Uint32Array(count);
    this.lengths = new Uint32Array(count);
    this.nanos = new Uint32Array(count);
  }

  has(place: number): boolean {
    return this.blockNumbers[place] !== NONE;
  }

  /** Undefined: none is kept. The bytes must not be changed. */
  at(place: number): Uint8Array | undefined {
    const number = this.blockNumbers[place] as number;
    if (number === NONE) return undefined;
    const start = this.starts[place] as number;
    return this.blocks[number - 1]?.subarray(start, start + (this.lengths[place] as number));
  }

  /** The nanoseconds that were kept with the value. */
  nanosAt(place: number): number {
    return this.nanos[place] as number;
  }

  /** Copies the bytes from `start` to before `end`. */
  keep(place: number, bytes: Uint8Array, start: number, end: number, nanos: number): void {
    const length = end - start;
    this.lengths[place] = length;
    this.nanos[place] = nanos;
    if (length > SMALL_BYTES_MAX) {
      this.starts[place] = 0;
      this.blockNumbers[place] = this.blocks.push(new Uint8Array(bytes.subarray(start, end)));
      return;
    }
    if (this.blockNumber === NONE || this.used + length > this.block.length) this.startBlock();
    this.block.set(bytes.subarray(start, end), this.used);
    this.starts[place] = this.used;
    this.blockNumbers[place] = this.blockNumber;
    this.used += length;
  }

  private startBlock(): void {
    const bytes = Math.max(BLOCK_BYTES_MIN, 2 * this.block.length);
    this.block = new Uint8Array(Math.min(BLOCK_BYTES_MAX, bytes));
    this.blockNumber = this.blocks.push(this.block);
    this.used = 0;
  }
}

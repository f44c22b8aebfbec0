/** Collects the chunks of a body. */

const NO_BYTES = Buffer.alloc(0);
/** The default maximum frame size of HTTP/2 (RFC 9113 section 4.2). Smaller chunks are copied into blocks of this size. */
const SMALL_BYTES = 16_384;

/**
 * A buffer of received chunks. A single chunk, the common case, is never copied. Small ones are: each would retain the read buffer that it is
 * a slice of, and its own object, so a megabyte sent byte by byte would use a hundred.
 */
export class Pieces {
  bytes = 0;
  private pieces: Buffer[] = [];
  private block = NO_BYTES;
  /** The range of the block that is not in `pieces` yet. */
  private start = 0;
  private end = 0;

  add(chunk: Buffer): void {
    const isFirst = this.bytes === 0;
    this.bytes += chunk.length;
    if (isFirst || chunk.length >= SMALL_BYTES) {
      this.closeBlock();
      this.pieces.push(chunk);
      return;
    }
    for (let at = 0; at < chunk.length;) {
      if (this.end === this.block.length) {
        this.closeBlock();
        this.block = Buffer.allocUnsafeSlow(SMALL_BYTES);
        this.start = 0;
        this.end = 0;
      }
      const copied = chunk.copy(this.block, this.end, at);
      this.end += copied;
      at += copied;
    }
  }

  /** Removes and returns all bytes in one buffer. */
  takeAll(): Buffer {
    this.closeBlock();
    const [first = NO_BYTES] = this.pieces;
    const all = this.pieces.length > 1 ? Buffer.concat(this.pieces, this.bytes) : first;
    this.drop();
    return all;
  }

  /** Discards all bytes. */
  drop(): void {
    this.pieces = [];
    this.bytes = 0;
    this.block = NO_BYTES;
    this.start = 0;
    this.end = 0;
  }

  private closeBlock(): void {
    if (this.end > this.start) this.pieces.push(this.block.subarray(this.start, this.end));
    this.start = this.end;
  }
}

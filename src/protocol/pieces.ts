/** Collects the pieces of a body. */

const NO_BYTES = Buffer.alloc(0);
/** As long as a piece over HTTP/2 may be (RFC 9113 section 4.2). Shorter ones are copied side by side. */
const SMALL_BYTES = 16_384;

/**
 * Pieces that are not looked at yet. A single one, the common case, is never copied. Many small ones are: each would hold all that was read
 * with it, and an object of its own, so that a body of a megabyte, byte by byte, would take a hundred.
 */
export class Pieces {
  bytes = 0;
  private pieces: Buffer[] = [];
  private block = NO_BYTES;
  /** Where the part of the block begins that is not among the pieces yet, and where it ends. */
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

  /** Takes all of them out, as one. */
  takeAll(): Buffer {
    this.closeBlock();
    const [first = NO_BYTES] = this.pieces;
    const all = this.pieces.length > 1 ? Buffer.concat(this.pieces, this.bytes) : first;
    this.drop();
    return all;
  }

  /** Forgets them. */
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

/** Parses a backup from chunks of any size. */
import { damaged, firstLineBytes, type Frame, FRAME_HEAD_BYTES, parseFrame, recordBytes } from "./format.js";
import type { Ledger } from "./ledger.js";

/**
 * Yields the frames of a backup after the ledger has checked them. Throws BackupError where the file is truncated or damaged; all frames
 * before that are intact.
 */
export async function* readFrames(chunks: AsyncIterable<Uint8Array>, ledger: Ledger): AsyncGenerator<Frame> {
  const buffer = new ChunkBuffer(chunks);
  let lineBytes: number | undefined;
  while ((lineBytes = firstLineBytes(buffer.peekAll(), buffer.isEnded)) === undefined)
    await buffer.readMore();
  buffer.consume(lineBytes);
  for (;;) {
    const at = ledger.bytes;
    if (!(await buffer.has(FRAME_HEAD_BYTES))) break;
    const length = FRAME_HEAD_BYTES + recordBytes(buffer.peek(FRAME_HEAD_BYTES), at);
    if (!(await buffer.has(length))) break;
    const frame = parseFrame(buffer.consume(length), at);
    ledger.append(frame);
    yield frame;
  }
  if (buffer.length > 0 && ledger.isComplete) throw damaged(ledger.bytes);
  ledger.finish();
}

/** Buffers chunks until they are consumed. */
class ChunkBuffer {
  isEnded = false;
  private pieces: Buffer[] = [];
  private bytes = 0;
  private readonly source: AsyncIterator<Uint8Array>;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.source = chunks[Symbol.asyncIterator]();
  }

  get length(): number {
    return this.bytes;
  }

  /** Waits for `count` bytes; false if the input ends first. */
  async has(count: number): Promise<boolean> {
    while (this.bytes < count && !this.isEnded) await this.readMore();
    return this.bytes >= count;
  }

  async readMore(): Promise<void> {
    const result = await this.source.next();
    if (result.done === true) {
      this.isEnded = true;
      return;
    }
    const { buffer, byteOffset, byteLength } = result.value;
    this.pieces.push(Buffer.from(buffer, byteOffset, byteLength));
    this.bytes += byteLength;
  }

  peekAll(): Buffer {
    return this.peek(this.bytes);
  }

  /** The next bytes, which must be buffered. */
  peek(count: number): Buffer {
    const [first] = this.pieces;
    if (first !== undefined && first.length >= count) return first.subarray(0, count);
    const joined = Buffer.concat(this.pieces);
    this.pieces = [joined];
    return joined.subarray(0, count);
  }

  consume(count: number): Buffer {
    const bytes = this.peek(count);
    const [first] = this.pieces;
    if (first === undefined || first.length === count) this.pieces.shift();
    else this.pieces[0] = first.subarray(count);
    this.bytes -= count;
    return bytes;
  }
}

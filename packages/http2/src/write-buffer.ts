/** Collects the frames of one write to a socket. Copies small pieces into one buffer and passes large ones on as they are. */
import { FRAME_HEAD_BYTES, FrameType } from "./codes.js";

const BUFFER_BYTES = 16_384;
/** The smallest rest of a buffer that is kept. */
const SPARE_BYTES_MIN = 1_024;
/** Copying a larger piece costs more than one more piece in the write. */
const COPY_BYTES_MAX = 4_096;

/** The rest of a buffer, shared by all connections: thousands of idle ones must not hold one each. */
const NO_BYTES: Buffer = Buffer.alloc(0);
const NO_SPARE = { buffer: NO_BYTES, start: 0 };
let spare = NO_SPARE;

export class WriteBuffer {
  /** Bytes collected. */
  bytes = 0;
  private pieces: Uint8Array[] = [];
  private buffer = NO_BYTES;
  /** The part of the buffer that is not among the pieces yet. */
  private start = 0;
  private end = 0;

  /** Returns a buffer with room for this many bytes at `offset`. Call `advance` with the number written. */
  room(bytes: number): Buffer {
    if (this.buffer.length - this.end < bytes) {
      this.close();
      const { buffer, start } = spare;
      const isFit = buffer.length - start >= bytes;
      // Not from Node's pool: a piece that waits long would hold its neighbours in memory.
      this.buffer = isFit ? buffer : Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES, bytes));
      this.start = isFit ? start : 0;
      this.end = this.start;
      if (isFit) spare = NO_SPARE;
    }
    return this.buffer;
  }

  get offset(): number {
    return this.end;
  }

  advance(bytes: number): void {
    this.end += bytes;
    this.bytes += bytes;
  }

  /** Adds the head of a frame whose payload follows. */
  head(type: number, flags: number, streamId: number, payloadBytes: number): void {
    const buffer = this.room(FRAME_HEAD_BYTES);
    writeHead(buffer, this.end, type, flags, streamId, payloadBytes);
    this.advance(FRAME_HEAD_BYTES);
  }

  /** Adds a frame whose payload is a list of 32-bit integers. */
  numbers(type: number, flags: number, streamId: number, ...values: readonly number[]): void {
    this.head(type, flags, streamId, 4 * values.length);
    const buffer = this.room(4 * values.length);
    for (const value of values) {
      buffer.writeUInt32BE(value, this.end);
      this.advance(4);
    }
  }

  add(bytes: Uint8Array): void {
    if (bytes.length > COPY_BYTES_MAX) {
      this.close();
      this.pieces.push(bytes);
      this.bytes += bytes.length;
    } else {
      const buffer = this.room(bytes.length);
      buffer.set(bytes, this.end);
      this.advance(bytes.length);
    }
  }

  /** Returns everything collected and clears the buffer. */
  take(): Uint8Array[] {
    this.close();
    const { pieces } = this;
    this.pieces = [];
    this.bytes = 0;
    if (this.buffer.length - this.end >= SPARE_BYTES_MIN) spare = { buffer: this.buffer, start: this.end };
    this.buffer = NO_BYTES;
    this.start = 0;
    this.end = 0;
    return pieces;
  }

  private close(): void {
    if (this.end === this.start) return;
    this.pieces.push(this.buffer.subarray(this.start, this.end));
    this.start = this.end;
  }
}

export function writeHead(
  buffer: Buffer,
  at: number,
  type: number,
  flags: number,
  streamId: number,
  payloadBytes: number,
): void {
  buffer[at] = payloadBytes >>> 16;
  buffer[at + 1] = payloadBytes >>> 8;
  buffer[at + 2] = payloadBytes;
  buffer[at + 3] = type;
  buffer[at + 4] = flags;
  buffer[at + 5] = streamId >>> 24;
  buffer[at + 6] = streamId >>> 16;
  buffer[at + 7] = streamId >>> 8;
  buffer[at + 8] = streamId;
}

/** Writes a DATA frame. */
export function addData(output: WriteBuffer, streamId: number, flags: number, payload: Uint8Array): void {
  output.head(FrameType.data, flags, streamId, payload.length);
  output.add(payload);
}

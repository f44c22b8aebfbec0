/**
 * What is to be written to one connection, frame by frame, until it is handed to the socket. Small pieces are copied side by side into one
 * buffer, large ones are passed on as they are.
 */
import { FRAME_HEAD_BYTES, FrameType } from "./codes.js";

const BUFFER_BYTES = 16_384;
/** Less than this is not worth keeping. */
const SPARE_BYTES_MIN = 1_024;
/** Copying more than this costs more than another piece in the write. */
const COPY_BYTES_MAX = 4_096;

/** What is left of a buffer, for whichever connection writes next: thousands of idle ones must not hold one each. */
const NO_BYTES: Buffer = Buffer.alloc(0);
const NO_SPARE = { buffer: NO_BYTES, start: 0 };
let spare = NO_SPARE;

export class Output {
  /** What waits. */
  bytes = 0;
  private pieces: Uint8Array[] = [];
  private buffer = NO_BYTES;
  /** Where the part of the buffer begins that is not among the pieces yet, and where it ends. */
  private start = 0;
  private end = 0;

  /** Room for so many bytes, to be written by the caller from `offset` on; `advance` says how many it were. */
  room(bytes: number): Buffer {
    if (this.buffer.length - this.end < bytes) {
      this.close();
      const { buffer, start } = spare;
      const isFit = buffer.length - start >= bytes;
      // Not from Node's pool: a piece may wait for long, and would hold what is around it.
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

  head(type: number, flags: number, streamId: number, payloadBytes: number): void {
    const buffer = this.room(FRAME_HEAD_BYTES);
    writeHead(buffer, this.end, type, flags, streamId, payloadBytes);
    this.advance(FRAME_HEAD_BYTES);
  }

  /** A frame whose payload is of a few whole numbers, of 32 bits each. */
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

  /** Takes out everything. */
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
export function addData(output: Output, streamId: number, flags: number, payload: Uint8Array): void {
  output.head(FrameType.data, flags, streamId, payload.length);
  output.add(payload);
}

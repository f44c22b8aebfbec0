/** Splits the input of a connection into frames: RFC 9113 sections 3.4 and 4.1. */
import { ErrorCode, FRAME_BYTES_MAX, FRAME_HEAD_BYTES } from "./codes.js";
import { Http2Error } from "./errors.js";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Receives a frame, whose payload is `bytes` from `start` to `end`. Returns false to stop reading. */
export type TakeFrame = (
  type: number,
  flags: number,
  streamId: number,
  bytes: Buffer,
  start: number,
  end: number,
) => boolean;

export class FrameReader {
  /** An incomplete frame. */
  private rest: Buffer = NO_BYTES;
  private prefaceLeft = PREFACE.length;

  constructor(private readonly take: TakeFrame) {}

  /** Throws a connection error if the input is not HTTP/2. */
  push(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = this.prefaceLeft > 0 ? this.skipPreface(bytes) : 0;
    while (this.prefaceLeft === 0 && bytes.length - at >= FRAME_HEAD_BYTES) {
      const start = at + FRAME_HEAD_BYTES;
      const end = start + bytes.readUIntBE(at, 3);
      if (end - start > FRAME_BYTES_MAX) {
        throw new Http2Error(ErrorCode.frameSizeError, `A frame has ${end - start} bytes.`);
      }
      if (end > bytes.length) break;
      const streamId = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      if (!this.take(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, streamId, bytes, start, end)) {
        this.rest = NO_BYTES;
        return;
      }
      at = end;
    }
    // A copy: a few bytes must not hold a large chunk in memory.
    this.rest = at === bytes.length ? NO_BYTES : Buffer.from(bytes.subarray(at));
  }

  private skipPreface(bytes: Buffer): number {
    const from = PREFACE.length - this.prefaceLeft;
    const count = Math.min(bytes.length, this.prefaceLeft);
    if (bytes.compare(PREFACE, from, from + count, 0, count) !== 0) {
      throw new Http2Error(ErrorCode.protocolError, "This is not the preface of HTTP/2.");
    }
    this.prefaceLeft -= count;
    return count;
  }
}

const NO_BYTES = Buffer.alloc(0);

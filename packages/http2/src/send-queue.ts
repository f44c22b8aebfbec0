/** The unsent part of one response, and how much of it flow control lets through: RFC 9113 section 5.2. */
import { INT31_MAX } from "./codes.js";
import type { Fields } from "./stream-events.js";
import type { WriteBuffer } from "./write-buffer.js";

/** Sent pieces are dropped from the array once there are this many: a queue that never empties must not keep them. */
const SENT_PIECES_MAX = 64;

export class SendQueue {
  /** Bytes that wait to be sent. */
  bytes = 0;
  /** Bytes sent so far. */
  sentBytes = 0;
  /** Whether END_STREAM follows the bytes. */
  isEnding = false;
  /** The trailer fields that follow the bytes. */
  trailers: Fields | undefined;
  private pieces: Uint8Array[] = [];
  private firstUnsent = 0;

  constructor(
    /** Bytes that the peer accepts now; negative after it lowered SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.9.2). */
    public windowBytes: number,
  ) {}

  push(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.bytes += piece.length;
  }

  /** Nothing follows but the trailers. */
  end(trailers: Fields | undefined): void {
    this.trailers = trailers;
    this.isEnding = true;
  }

  /** Whether there is anything to send. */
  get isWaiting(): boolean {
    return this.bytes > 0 || this.isEnding;
  }

  /** Changes the window; false if it exceeds the largest allowed. */
  widen(bytes: number): boolean {
    this.windowBytes += bytes;
    return this.windowBytes <= INT31_MAX;
  }

  /** Moves the next `bytes` bytes, at most all, to the output. */
  moveTo(output: WriteBuffer, bytes: number): void {
    this.bytes -= bytes;
    this.windowBytes -= bytes;
    this.sentBytes += bytes;
    let left = bytes;
    while (left > 0) {
      const piece = this.pieces[this.firstUnsent];
      if (piece === undefined) throw new Error(`The queue has ${left} bytes less than it counted.`);
      if (piece.length > left) {
        output.add(piece.subarray(0, left));
        this.pieces[this.firstUnsent] = piece.subarray(left);
        break;
      }
      output.add(piece);
      left -= piece.length;
      this.pieces[this.firstUnsent] = NO_BYTES;
      this.firstUnsent++;
    }
    this.dropSent();
  }

  clear(): void {
    this.pieces = [];
    this.firstUnsent = 0;
    this.bytes = 0;
  }

  private dropSent(): void {
    if (this.firstUnsent === this.pieces.length) {
      this.pieces.length = 0;
      this.firstUnsent = 0;
    } else if (this.firstUnsent >= SENT_PIECES_MAX && this.firstUnsent * 2 >= this.pieces.length) {
      this.pieces.splice(0, this.firstUnsent);
      this.firstUnsent = 0;
    }
  }
}

const NO_BYTES = new Uint8Array(0);

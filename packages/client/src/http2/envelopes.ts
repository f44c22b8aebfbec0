/** The envelopes of Connect's streams: a byte of flags, the length, the message. https://connectrpc.com/docs/protocol#streaming-rpcs */
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { encodeMessage } from "../binary/encoder.js";

const PREFIX_BYTES = 5;

export const COMPRESSED_FLAG = 0b01;
export const END_STREAM_FLAG = 0b10;

export interface Envelope {
  readonly flags: number;
  /** A copy: a value that an application keeps holds no larger buffer in memory. */
  readonly data: Buffer;
}

/** An envelope with a message that is not compressed. */
export function envelopeOf<Desc extends DescMessage>(
  desc: Desc,
  message: MessageInitShape<Desc>,
): Uint8Array {
  const bytes = encodeMessage(desc, message, PREFIX_BYTES);
  bytes[0] = 0;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(1, bytes.length - PREFIX_BYTES);
  return bytes;
}

/** Splits a stream of bytes into envelopes. */
export class EnvelopeReader {
  /** The part of an envelope that has arrived so far, and how many bytes the chunks hold. */
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  /** The bytes that the pending envelope needs, its prefix included. */
  private neededBytes = PREFIX_BYTES;

  /** `onTooLarge` is called for an envelope that announces more bytes than the limit; nothing is read after that. */
  constructor(
    private readonly bytesMax: number,
    private readonly onEnvelope: (envelope: Envelope) => void,
    private readonly onTooLarge: () => void,
  ) {}

  /** Whether the bytes so far end within an envelope. */
  get isWithinEnvelope(): boolean {
    return this.pendingBytes > 0;
  }

  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.pendingBytes > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
      if (this.pendingBytes < this.neededBytes) return;
      bytes = Buffer.concat(this.pending, this.pendingBytes);
      this.pending = [];
      this.pendingBytes = 0;
    }
    let at = 0;
    this.neededBytes = PREFIX_BYTES;
    while (bytes.length - at >= PREFIX_BYTES) {
      const length = bytes.readUInt32BE(at + 1);
      if (length > this.bytesMax) {
        this.onTooLarge();
        return;
      }
      if (bytes.length - at < PREFIX_BYTES + length) {
        this.neededBytes = PREFIX_BYTES + length;
        break;
      }
      const start = at + PREFIX_BYTES;
      at = start + length;
      const data = Buffer.allocUnsafeSlow(length);
      bytes.copy(data, 0, start, at);
      this.onEnvelope({ flags: bytes[start - PREFIX_BYTES] ?? 0, data });
    }
    if (at === bytes.length) return;
    this.pending = [bytes.subarray(at)];
    this.pendingBytes = bytes.length - at;
  }
}

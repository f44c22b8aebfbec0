/** Messages in their envelopes, each encoded once for all streams that send it. */
import { compressedEnvelope, isLong } from "./compression.js";
import type { Message, MethodCodec } from "./codec.js";
import { ENVELOPE_HEAD_BYTES, seal } from "./envelope.js";

/** Kept by a message's identity, for as long as someone still has to send it. */
export class SharedFrames {
  private readonly binary = new WeakMap<Message, Buffer>();
  private readonly json = new WeakMap<Message, Buffer>();
  private readonly compressed = new WeakMap<Buffer, Promise<Buffer>>();

  constructor(private readonly codec: MethodCodec) {}

  /** A promise only where the frame is compressed. Throws ConnectError for a message that can't be encoded. */
  of(message: Message, isBinary: boolean, acceptsGzip: boolean): Buffer | Promise<Buffer> {
    const frames = isBinary ? this.binary : this.json;
    let frame = frames.get(message);
    if (frame === undefined) {
      frame = seal(this.codec.encode(isBinary, message, ENVELOPE_HEAD_BYTES), 0);
      frames.set(message, frame);
    }
    return acceptsGzip ? this.compressedWhereLong(frame) : frame;
  }

  private compressedWhereLong(frame: Buffer): Buffer | Promise<Buffer> {
    const known = this.compressed.get(frame);
    if (known !== undefined) return known;
    const data = frame.subarray(ENVELOPE_HEAD_BYTES);
    if (!isLong(data)) return frame;
    const compressed = compressedEnvelope(0, data);
    this.compressed.set(frame, compressed);
    return compressed;
  }
}

/** Caches enveloped messages: each is encoded once for all streams that send it. */
import { AttachedEncoding } from "../../kv/attached.js";
import { compressedEnvelope, isLong } from "./compression.js";
import type { Message, MethodCodec } from "./codec.js";
import { ENVELOPE_HEAD_BYTES, seal } from "./envelope.js";

/** Kept with the message object, large ones only while a stream sends them. */
export class SharedFrames {
  private readonly binary = new AttachedEncoding<Message>();
  private readonly json = new AttachedEncoding<Message>();
  private readonly compressed = new WeakMap<Buffer, Promise<Buffer>>();

  constructor(private readonly codec: MethodCodec) {}

  /** Returns a promise only if the frame is compressed. Throws ConnectError if the message can't be encoded. */
  of(message: Message, isBinary: boolean, acceptsGzip: boolean): Buffer | Promise<Buffer> {
    const frames = isBinary ? this.binary : this.json;
    let frame = frames.get(message);
    if (frame === undefined) {
      frame = seal(this.codec.encode(isBinary, message, ENVELOPE_HEAD_BYTES), 0);
      frames.set(message, frame);
    }
    return acceptsGzip ? this.compressedIfLong(frame) : frame;
  }

  private compressedIfLong(frame: Buffer): Buffer | Promise<Buffer> {
    const known = this.compressed.get(frame);
    if (known !== undefined) return known;
    const data = frame.subarray(ENVELOPE_HEAD_BYTES);
    if (!isLong(data)) return frame;
    const compressed = compressedEnvelope(0, data);
    this.compressed.set(frame, compressed);
    return compressed;
  }
}

/** Limits the messages of a streamed request body. The Connect library has the same limit, but its error has no detail. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { messageTooLarge } from "../service/errors.js";
import type { MessageLimit } from "./message-limit.js";
import { Pieces } from "./pieces.js";
import { ENVELOPE_HEAD_BYTES } from "./rpc/envelope.js";

/**
 * Passes the body through up to the first message that is too large, and then fails. Without envelopes, the body is one message. Enveloped
 * messages are passed on whole: for each chunk, the library would copy all that it has of a message.
 */
export function limitedBody(
  body: AsyncIterable<Uint8Array>,
  isEnveloped: boolean,
  { bytesMax, tooLarge }: MessageLimit,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const chunks = body[Symbol.asyncIterator]();
      const limit = isEnveloped ? new EnvelopeLimit(bytesMax) : new TotalLimit(bytesMax);
      const pieces = new Pieces();
      let isOver = false;
      return {
        async next() {
          while (!isOver) {
            const result = await chunks.next();
            if (result.done === true && pieces.bytes === 0) return result;
            if (result.done === true) break;
            const { buffer, byteOffset, length } = result.value;
            const validBytes = limit.count(result.value);
            isOver = validBytes < length;
            if (validBytes > 0) pieces.add(Buffer.from(buffer, byteOffset, validBytes));
            if (limit.hasMessageEnded && pieces.bytes > 0) break;
          }
          if (pieces.bytes === 0) throw tooLarge();
          return { done: false, value: pieces.takeAll() };
        },
        return: async () => (await chunks.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

/** A body that cannot be read. */
export function failingBody(error: unknown): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => ({
      // The library expects a ConnectError, which `authenticate` throws.
      next: () => Promise.reject(ConnectError.from(error)),
    }),
  };
}

/** The compression with our error, if `isOurs`, for a message that is too large when it is decompressed. */
export function limitedCompression(compression: Compression, isOurs: () => boolean): Compression {
  return {
    ...compression,
    async decompress(bytes, readMaxBytes) {
      try {
        return await compression.decompress(bytes, readMaxBytes);
      } catch (error) {
        const isTooLarge = error instanceof ConnectError && error.code === Code.ResourceExhausted;
        throw isTooLarge && isOurs() ? messageTooLarge(readMaxBytes) : error;
      }
    },
  };
}

class TotalLimit {
  /** The library collects the parts of a message without an envelope. */
  readonly hasMessageEnded = true;
  private bytes = 0;

  constructor(private readonly bytesMax: number) {}

  /** The number of bytes before the message that is too large; all of them if there is none. */
  count(chunk: Uint8Array): number {
    this.bytes += chunk.length;
    return this.bytes > this.bytesMax ? 0 : chunk.length;
  }
}

class EnvelopeLimit {
  /** Whether a message ended in the chunk that was counted last. */
  hasMessageEnded = false;
  private headBytes = 0;
  private length = 0;
  private messageBytesLeft = 0;

  constructor(private readonly bytesMax: number) {}

  count(chunk: Uint8Array): number {
    let start = 0;
    this.hasMessageEnded = false;
    for (let at = 0; at < chunk.length;) {
      if (this.messageBytesLeft > 0) {
        const passed = Math.min(this.messageBytesLeft, chunk.length - at);
        this.messageBytesLeft -= passed;
        at += passed;
        start = at;
        this.hasMessageEnded ||= this.messageBytesLeft === 0;
        continue;
      }
      // The first byte of a head has the flags; four of length follow.
      if (this.headBytes > 0) this.length = this.length * 256 + (chunk[at] ?? 0);
      this.headBytes++;
      at++;
      if (this.headBytes < ENVELOPE_HEAD_BYTES) continue;
      if (this.length > this.bytesMax) return start;
      this.messageBytesLeft = this.length;
      this.hasMessageEnded ||= this.length === 0;
      this.headBytes = 0;
      this.length = 0;
      start = at;
    }
    return chunk.length;
  }
}

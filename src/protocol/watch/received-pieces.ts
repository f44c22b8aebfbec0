/** Bounds what a WebSocket holds of messages that are not complete. */
import type { Duplex } from "node:stream";

/** A frame without its payload has at most this many bytes (RFC 6455 section 5.2). */
const FRAME_HEAD_BYTES_MAX = 14;
/** At most, as larger messages arrive in larger pieces. */
const PIECE_BYTES_MAX = 16_384;

/** The piece size for messages of at most this many bytes: one piece has a complete message. */
export function pieceBytesFor(messageBytesMax: number): number {
  return Math.min(messageBytesMax + FRAME_HEAD_BYTES_MAX, PIECE_BYTES_MAX);
}

/**
 * Passes what the socket receives to its `data` listeners as copies of at most `pieceBytes` each. ws keeps the fragments of a message as slices of
 * what it received: a fragment of one byte would hold the 64 KiB that arrived with it.
 */
export function receiveInPieces(socket: Duplex, pieceBytes: number): void {
  const listeners = socket.listeners("data") as ((bytes: Buffer) => void)[];
  for (const listener of listeners) socket.off("data", listener);
  socket.on("data", (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      const received = chunk.subarray(at, at + pieceBytes);
      // Not from Node's pool, which the piece would hold.
      const piece = Buffer.allocUnsafeSlow(received.length);
      received.copy(piece);
      for (const listener of listeners) listener.call(socket, piece);
    }
  });
}

/**
 * Writes large data to a TLS socket in pieces, each after the one before it has left. Node encrypts a write as a whole, and keeps as much native
 * memory as the largest write took until the connection closes, which no budget counts.
 */
import type { TLSSocket } from "node:tls";

/** Four TLS records (RFC 8446 section 5.1). */
const PIECE_BYTES = 65_536;

type Callback = (error?: Error | null) => void;

/** Call it once, before anything is written to the socket. */
export function writeInPieces(socket: TLSSocket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  const writeAll = (pieces: readonly Uint8Array[], callback: Callback): void => {
    let index = 0;
    const writeNext: Callback = (error) => {
      const piece = pieces[index++];
      if (error != null || piece === undefined) callback(error);
      else write(piece, "buffer" as BufferEncoding, writeNext);
    };
    writeNext();
  };
  socket._write = (chunk: string | Buffer, encoding, callback) => {
    if (chunk.length <= PIECE_BYTES) write(chunk, encoding, callback);
    else writeAll(piecesOf(chunk, encoding), callback);
  };
  socket._writev = (chunks, callback) => {
    const length = chunks.reduce((sum, { chunk }) => sum + (chunk as string | Buffer).length, 0);
    if (length <= PIECE_BYTES && writev !== undefined) writev(chunks, callback);
    else
      writeAll(
        chunks.flatMap(({ chunk, encoding }) => piecesOf(chunk as string | Buffer, encoding)),
        callback,
      );
  };
}

function piecesOf(chunk: string | Buffer, encoding: BufferEncoding): Uint8Array[] {
  const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) pieces.push(bytes.subarray(at, at + PIECE_BYTES));
  return pieces;
}

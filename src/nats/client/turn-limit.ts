/**
 * Bounds what one turn of the event loop reads from a socket. Node reads up to 32 times 64 KiB from a socket that has so much, before anything
 * else is served: 2 MiB of small messages take tens of milliseconds to handle.
 */
import type { Socket } from "node:net";

/** Pauses the socket after so many bytes in one turn, until the next turn. One read more may follow: the socket has buffered it. */
export function limitTurn(socket: Socket, bytesMax: number): void {
  let turnBytes = 0;
  const endTurn = (): void => {
    if (turnBytes >= bytesMax) socket.resume();
    turnBytes = 0;
  };
  socket.on("data", (chunk: Buffer) => {
    if (turnBytes === 0) setImmediate(endTurn);
    if (turnBytes < bytesMax && turnBytes + chunk.length >= bytesMax) socket.pause();
    turnBytes += chunk.length;
  });
}

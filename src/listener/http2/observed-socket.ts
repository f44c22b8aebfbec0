/** A socket whose received bytes are seen here first. Node's HTTP/2 session reads from a socket's handle, and shows nobody what it receives. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

export class ObservedSocket extends Duplex {
  /** `onReceived` is called with each chunk before the reader of this stream receives it, which it does not if the socket is destroyed. */
  constructor(
    private readonly socket: Socket,
    onReceived: (chunk: Buffer) => void,
  ) {
    super();
    socket.on("data", (chunk: Buffer) => {
      onReceived(chunk);
      if (!socket.destroyed && !this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("close", () => this.destroy());
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.socket.write(chunk, callback);
  }

  override _final(callback: () => void): void {
    this.socket.end(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.socket.destroy();
    callback(error);
  }
}

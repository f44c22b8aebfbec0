/**
 * One request of a connection after the other. Node's server hands out all that came in at once, each with an answer of its own that waits for
 * those before it: a client that sends thousands of small requests and reads nothing would have thousands of large answers made.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** No more is read from a connection with so many requests that wait. */
const WAITING_MAX = 16;

export class Turns {
  private readonly waiting = new WeakMap<Socket, (() => void)[]>();

  /** Whether one of the answers is a connection's last: behind that nothing is done any more (RFC 9112 section 9.6). */
  static isOver(responses: ReadonlySet<ServerResponse>): boolean {
    for (const { shouldKeepAlive } of responses) if (!shouldKeepAlive) return true;
    return false;
  }

  /** Calls `handle` when every earlier answer on the connection is complete, at once where it `isAlone`. Never where the connection is lost. */
  take(socket: Socket, isAlone: boolean, response: ServerResponse, handle: () => void): void {
    response.once("close", () => this.next(socket));
    if (isAlone) {
      handle();
      return;
    }
    const waiting = this.waiting.get(socket) ?? [];
    this.waiting.set(socket, waiting);
    waiting.push(handle);
    if (waiting.length >= WAITING_MAX) socket.pause();
  }

  private next(socket: Socket): void {
    const waiting = this.waiting.get(socket);
    if (waiting === undefined || !socket.writable) return;
    const handle = waiting.shift();
    if (waiting.length === 0) {
      this.waiting.delete(socket);
      socket.resume();
    }
    handle?.();
  }
}

/** Makes an answer that has not begun the last of its connection. */
export function askToClose(response: ServerResponse): void {
  if (response.headersSent) return;
  response.setHeader("connection", "close");
  response.shouldKeepAlive = false;
}

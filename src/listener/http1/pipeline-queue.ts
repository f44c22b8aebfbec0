/**
 * Processes pipelined HTTP/1.1 requests one at a time. Node's server emits all of them at once and buffers their responses: a client that
 * pipelines thousands of small requests and reads nothing would make the server hold thousands of large responses.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Reads from a connection pause while this many of its requests are queued. */
const QUEUED_MAX = 16;

export class PipelineQueue {
  private readonly waiting = new WeakMap<Socket, (() => void)[]>();

  /** Whether one of the responses closes the connection: later requests are not processed (RFC 9112 section 9.6). */
  static isClosing(responses: ReadonlySet<ServerResponse>): boolean {
    for (const { shouldKeepAlive } of responses) if (!shouldKeepAlive) return true;
    return false;
  }

  /** Calls `handle` once every earlier response on the connection is complete (at once if `isAlone`); never if the connection is lost. */
  enqueue(socket: Socket, isAlone: boolean, response: ServerResponse, handle: () => void): void {
    response.once("close", () => this.next(socket));
    if (isAlone) {
      handle();
      return;
    }
    const waiting = this.waiting.get(socket) ?? [];
    this.waiting.set(socket, waiting);
    waiting.push(handle);
    if (waiting.length >= QUEUED_MAX) socket.pause();
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

/** Makes a response that has not started close its connection. */
export function askToClose(response: ServerResponse): void {
  if (response.headersSent) return;
  response.setHeader("connection", "close");
  response.shouldKeepAlive = false;
}

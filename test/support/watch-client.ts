/** A client of the WebSocket door. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { expect } from "vitest";
import { WebSocket } from "ws";

/** Frames as they come, and how the connection closed. */
export class WatchClient {
  readonly frames: unknown[] = [];
  closed: { code: number; reason: string } | undefined;

  private constructor(readonly socket: WebSocket) {
    socket.on("message", (data: Buffer, isBinary) => {
      expect(isBinary).toBe(false);
      this.frames.push(JSON.parse(data.toString()));
    });
    socket.on("close", (code, reason) => (this.closed = { code, reason: reason.toString() }));
  }

  static async open(
    url: string,
    path: string,
    options: { headers?: Record<string, string>; autoPong?: boolean } = {},
  ): Promise<WatchClient> {
    const socket = new WebSocket(url.replace("http", "ws") + path, options);
    const client = new WatchClient(socket);
    await once(socket, "open");
    return client;
  }

  /** Resolves when this many frames are here. */
  async have(count: number): Promise<unknown[]> {
    while (this.frames.length < count) await once(this.socket, "message");
    return this.frames;
  }

  async untilClosed(): Promise<{ code: number; reason: string } | undefined> {
    if (this.closed === undefined) await once(this.socket, "close");
    return this.closed;
  }
}

/** The status and JSON of an upgrade that must be refused. */
export async function refusedUpgrade(
  url: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<[number, unknown]> {
  const socket = new WebSocket(url.replace("http", "ws") + path, { headers });
  socket.on("error", () => undefined);
  const [, response] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return [response.statusCode ?? 0, JSON.parse(text)];
}

/** The HTTP/2 of a listener: it takes connections that speak it, and hands out their requests. */
import type { Socket } from "node:net";
import { careFor, ConnectionCare } from "./care.js";
import { Connection, type ConnectionLimits } from "./connection.js";
import { leaveGently } from "./goodbye.js";
import type { RequestStream } from "./stream.js";

export class Http2Server {
  private readonly connections = new Map<Connection, ConnectionCare>();
  private readonly caring: { stop(): void };
  private isLeaving = false;

  constructor(
    private readonly limits: ConnectionLimits,
    private readonly onStream: (stream: RequestStream) => void,
    private readonly onFault: (error: unknown) => void = () => undefined,
  ) {
    this.caring = careFor(this.connections, limits);
  }

  /** Takes a connection, of which nothing was read, or what was read is put back. */
  accept(socket: Socket): void {
    const { onStream, onFault } = this;
    const onClosed = (): void => void this.connections.delete(connection);
    const connection = new Connection(socket, this.limits, { onStream, onClosed, onFault });
    const care = new ConnectionCare(connection);
    connection.onPong = () => care.answered();
    this.connections.set(connection, care);
    if (this.isLeaving) void leaveGently(connection);
  }

  /** Asks all clients to leave when their calls are done, also those that come from now on. */
  leaveGently(): void {
    this.isLeaving = true;
    for (const connection of this.connections.keys()) void leaveGently(connection);
  }

  stop(): void {
    this.caring.stop();
  }
}

/** The connections to one service: usually one. */
import type { SecureClientSessionOptions } from "node:http2";
import type { Http2Limits } from "../transport-options.js";
import { Connection } from "./connection.js";

export class ConnectionPool {
  private readonly connections: Connection[] = [];

  constructor(
    private readonly origin: string,
    private readonly tls: SecureClientSessionOptions,
    private readonly limits: Http2Limits,
  ) {}

  /** A connection with a reserved place for a stream; a promise if it must be established first. The caller releases the place. */
  acquire(): Connection | Promise<Connection> {
    const found = this.find();
    if (found === undefined) return this.connect();
    found.reserve();
    return found;
  }

  /** The first connection with room; without any, the one with the fewest streams if no more may be opened. */
  private find(): Connection | undefined {
    const first = this.connections[0];
    if (first !== undefined && first.isOpen && first.hasRoom) return first;
    const open = this.connections.filter((connection) => connection.isOpen);
    const free = open.find((connection) => connection.hasRoom);
    if (free !== undefined || open.length < this.limits.connectionsMax) return free;
    return open.reduce((one, other) => (other.inFlight < one.inFlight ? other : one));
  }

  /** Calls that arrive while a connection is being established share it. */
  private async connect(): Promise<Connection> {
    for (;;) {
      const connection = this.connections.find((one) => one.isConnecting) ?? this.add();
      await connection.established;
      const found = this.find();
      if (found === undefined) continue;
      found.reserve();
      return found;
    }
  }

  private add(): Connection {
    const connection: Connection = new Connection(this.origin, this.tls, this.limits, () => {
      this.connections.splice(this.connections.indexOf(connection), 1);
    });
    this.connections.push(connection);
    return connection;
  }
}

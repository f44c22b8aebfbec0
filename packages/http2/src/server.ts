/** The HTTP/2 side of a listener: accepts connections that speak it and hands out their requests. */
import type { Duplex } from "node:stream";
import { ByteBudget } from "./byte-budget.js";
import { Connection, type SharedByConnections } from "./connection.js";
import { ConnectionMonitor, monitorConnections } from "./connection-monitor.js";
import { closeGracefully } from "./graceful-shutdown.js";
import { Http2Counters } from "./http2-counters.js";
import type { Http2Limits } from "./limits.js";
import type { RequestStream } from "./stream.js";

/** What all connections together may hold. Other servers may use the same budgets. */
export interface Http2Budgets {
  /** Bytes of request bodies without a response. Above it, the largest incomplete request is refused: REFUSED_STREAM. */
  readonly incompleteRequests: ByteBudget;
  /** Bytes of responses that wait to be sent. Above it, the largest is reset: ENHANCE_YOUR_CALM. */
  readonly unsentResponses: ByteBudget;
}

export interface Http2ServerOptions {
  readonly limits: Http2Limits;
  /** Default: only the limits of each connection apply. */
  readonly budgets?: Http2Budgets | undefined;
  /** Receives each request. Attach a listener before returning: the body may follow at once. */
  onStream(stream: RequestStream): void;
  /** Called with exceptions that handlers and listeners throw; their connection is closed. Default: ignored. */
  onFault?(error: unknown): void;
}

export class Http2Server {
  private readonly connections = new Map<Connection, ConnectionMonitor>();
  private readonly monitoring: { stop(): void };
  private isClosing = false;
  readonly counters = new Http2Counters();
  private readonly shared: SharedByConnections;

  constructor(private readonly options: Http2ServerOptions) {
    this.monitoring = monitorConnections(this.connections, options.limits);
    const { incompleteRequests, unsentResponses } = options.budgets ?? {};
    this.shared = {
      incompleteRequests: incompleteRequests ?? new ByteBudget(Infinity),
      unsentResponses: unsentResponses ?? new ByteBudget(Infinity),
      counters: this.counters,
    };
  }

  /**
   * Accepts a connection from which nothing was read, or what was read was put back: a socket, TLS socket or any other byte stream. Its owner
   * listens for `error`.
   */
  accept(socket: Duplex): void {
    const { options } = this;
    const connection = new Connection(socket, options.limits, this.shared, {
      onStream: (stream) => options.onStream(stream),
      onClosed: () => void this.connections.delete(connection),
      onFault: (error) => options.onFault?.(error),
    });
    const monitor = new ConnectionMonitor(connection);
    connection.onPong = () => monitor.answered();
    this.connections.set(connection, monitor);
    if (this.isClosing) void closeGracefully(connection);
  }

  /** Closes all connections, and those accepted later, once their calls are done. */
  closeGracefully(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    for (const connection of this.connections.keys()) void closeGracefully(connection);
  }

  /** Stops the timers. Connections stay as they are. */
  stop(): void {
    this.monitoring.stop();
  }
}

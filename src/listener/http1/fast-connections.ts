/** The HTTP/1.1 connections that bypass Node's server: all of their requests so far were simple. */
import type { Socket } from "node:net";
import { FastHttp1Connection, type FastHttp1ConnectionOptions } from "./fast-connection.js";

/** The longest interval between checks for idle connections. */
const CHECK_INTERVAL_MS_MAX = 5_000;

export class FastHttp1Connections {
  private readonly connections = new Set<FastHttp1Connection>();
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: Omit<FastHttp1ConnectionOptions, "onClosed">) {
    const shortestMs = Math.min(options.idleTimeoutMs, options.headersTimeoutMs);
    this.timer = setInterval(() => this.closeIdle(), Math.min(CHECK_INTERVAL_MS_MAX, shortestMs / 4));
    this.timer.unref();
  }

  open(socket: Socket): void {
    const onClosed = (connection: FastHttp1Connection): void => void this.connections.delete(connection);
    this.connections.add(new FastHttp1Connection(socket, { ...this.options, onClosed }));
  }

  /** Closes the connections that have no request in progress. */
  closeUnlessBusy(): void {
    for (const connection of this.connections) connection.closeUnlessBusy();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private closeIdle(): void {
    const nowMs = performance.now();
    for (const connection of this.connections) connection.closeIfIdle(nowMs);
  }
}

/**
 * HTTP/2 by Node's own server, for `HTTP2=node`. It needs more CPU, and has no limits for slow requests or clients that do not read a
 * response. Of the limits for incomplete requests, only that for all connections applies.
 */
import { performServerHandshake, type ServerHttp2Session, type ServerOptions } from "node:http2";
import type { Socket } from "node:net";
import { PingMonitor } from "@ironflow-kv/http2";
import type { Http2, Http2Options } from "./http2.js";
import { NodeHttp2Exchange } from "./node-exchange.js";

const MEGABYTE = 1_048_576;

export class NodeHttp2 implements Http2 {
  readonly counters = undefined;
  private readonly sessions = new Map<ServerHttp2Session, PingMonitor>();
  private readonly pingTimer: NodeJS.Timeout;
  private isClosing = false;

  constructor(private readonly options: Http2Options) {
    this.pingTimer = setInterval(() => this.pingAll(), options.limits.pingIntervalMs);
    this.pingTimer.unref();
  }

  accept(socket: Socket): void {
    const { limits, handler, budgets, onFault } = this.options;
    const session = performServerHandshake(socket, this.sessionOptions());
    let streams = 0;
    this.sessions.set(session, new PingMonitor(limits.pingIntervalMs));
    session.on("close", () => this.sessions.delete(session));
    // A protocol error, or a client that disconnected: the session closes.
    session.on("error", () => undefined);
    session.setTimeout(limits.idleTimeoutMs, () => {
      if (streams === 0) session.close();
    });
    session.on("stream", (stream, headers) => {
      streams++;
      stream.on("close", () => streams--);
      try {
        handler.handle(new NodeHttp2Exchange(stream, headers, socket, budgets));
      } catch (error) {
        onFault(error);
        stream.destroy();
      }
    });
    if (this.isClosing) session.close();
  }

  closeGracefully(): void {
    this.isClosing = true;
    for (const session of this.sessions.keys()) session.close();
  }

  stop(): void {
    clearInterval(this.pingTimer);
  }

  private pingAll(): void {
    for (const [session, monitor] of this.sessions) {
      // A destroyed session throws on a ping; its 'close' event comes later.
      if (session.destroyed) continue;
      const verdict = monitor.next();
      if (verdict === "gone") session.destroy();
      if (verdict === "ping") session.ping((error) => error === null && monitor.answered());
    }
  }

  private sessionOptions(): ServerOptions {
    const { streamsPerConnectionMax, headerBytesMax, unsentResponseBytesMax } = this.options.limits;
    return {
      maxSessionMemory: Math.ceil(unsentResponseBytesMax / MEGABYTE),
      settings: { maxConcurrentStreams: streamsPerConnectionMax, maxHeaderListSize: headerBytesMax },
    };
  }
}

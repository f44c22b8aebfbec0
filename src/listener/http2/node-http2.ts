/**
 * HTTP/2 by Node's own server, for `HTTP2=node`. It needs more CPU, and has no limits for slow requests or clients that do not read a
 * response. Of the limits for incomplete requests, only that for all connections applies. The session reads from a stream of ours, because
 * Node shows neither the bytes that a session holds for a header block in progress (`current_session_memory_` in src/node_http2.cc) nor its frames.
 */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerOptions,
} from "node:http2";
import type { Socket } from "node:net";
import { PingMonitor } from "@ironflow-kv/http2";
import type { Http2, Http2Options } from "./http2.js";
import { HeaderBlockWatch } from "./header-block-watch.js";
import { NodeHttp2Exchange } from "./node-exchange.js";
import { ObservedSocket } from "./observed-socket.js";

const MEGABYTE = 1_048_576;
/** nghttp2 accepts 8 CONTINUATION frames in a block (NGHTTP2_DEFAULT_MAX_CONTINUATIONS in lib/nghttp2_session.h). */
const BLOCK_BYTES_MAX = 9 * 16_384;

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
    const { incompleteRequests } = budgets;
    // Nothing can be released: nghttp2 keeps a part of a header block until V8 collects its session.
    const head = incompleteRequests.open(() => undefined);
    const headBytes = Math.min(limits.headerBytesMax, BLOCK_BYTES_MAX);
    const block = new HeaderBlockWatch();
    const observed = new ObservedSocket(socket, (chunk) => {
      block.receive(chunk);
      const hasRoom = incompleteRequests.bytes - head.bytes + headBytes <= incompleteRequests.bytesMax;
      if (block.isIncomplete && !hasRoom) socket.destroy();
      // As if it were as long as allowed.
      else head.set(block.isIncomplete ? headBytes : 0);
    });
    const session = performServerHandshake(observed, this.sessionOptions());
    let streams = 0;
    this.sessions.set(session, new PingMonitor(limits.pingIntervalMs));
    session.on("close", () => {
      this.sessions.delete(session);
      head.close();
    });
    // A protocol error, or a client that disconnected: the session closes.
    session.on("error", () => undefined);
    session.setTimeout(limits.idleTimeoutMs, () => {
      if (streams === 0) session.close();
    });
    session.on("stream", (stream, headers) => {
      streams++;
      stream.on("close", () => streams--);
      if (hasTwoHosts(headers)) {
        stream.on("error", () => undefined);
        stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
        return;
      }
      try {
        const exchange = new NodeHttp2Exchange(stream, headers, socket, budgets);
        if (exchange.admit()) handler.handle(exchange);
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

/** Whether Host differs from :authority (RFC 9113 section 8.3.1). */
function hasTwoHosts({ ":authority": authority, host }: IncomingHttpHeaders): boolean {
  return host !== undefined && authority !== undefined && host.toLowerCase() !== authority.toLowerCase();
}

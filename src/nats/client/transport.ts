/**
 * Connects the NATS client over sockets whose errors always have a listener.
 *
 * The library's transport removes all listeners from its socket when it closes. A write that fails in the same turn of the event loop, for
 * example because the server has closed too, emits `error` after that: without a listener, it would end the process.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  type ConnectionOptions,
  type NatsConnection,
  NatsConnectionImpl,
  Parser,
  setTransportFactory,
} from "@nats-io/transport-node";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

/** The delay between reconnect attempts, plus up to as much jitter: calls work again within 0.2 s after NATS is back. */
const RECONNECT_WAIT_MS = 100;
const RECONNECT_JITTER_MS = 100;

/** Connects, and reconnects unless `options` disables it. */
export function connect(options: ConnectionOptions): Promise<NatsConnection> {
  useTransport();
  return NatsConnectionImpl.connect({ ...options, reconnectDelayHandler });
}

/** The client calls this before each attempt. */
function reconnectDelayHandler(): number {
  useTransport();
  return RECONNECT_WAIT_MS + Math.random() * RECONNECT_JITTER_MS;
}

/** The library has one factory for the whole process: its own `connect`, called by an embedding program, replaces it. */
function useTransport(): void {
  setTransportFactory({ factory: () => new GuardedTransport(), dnsResolveFn: nodeResolveHost });
}

/**
 * The parser collects a message that arrives in several reads in a buffer that doubles: a megabyte is allocated, cleared and copied several
 * times, and collecting that garbage stops the event loop. Here the buffer has the size of the message from its first read on.
 */
function sizeMessageBuffers(): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with its object below
  const { parse } = Parser.prototype;
  Parser.prototype.parse = function (this: Parser, received: Uint8Array): void {
    parse.call(this, received);
    const { msgBuf, ma } = this;
    if (msgBuf !== undefined && msgBuf.capacity < ma.size) msgBuf.grow(ma.size - msgBuf.length);
  };
}

sizeMessageBuffers();

class GuardedTransport extends NodeTransport {
  override async dial(server: { hostname: string; port: number }): Promise<Socket> {
    return keepErrorListener(await super.dial(server));
  }

  override async tlsFirst(server: { hostname: string; port: number }): Promise<TLSSocket> {
    return keepErrorListener(await super.tlsFirst(server));
  }

  override async startTLS(): Promise<TLSSocket> {
    return keepErrorListener(await super.startTLS());
  }
}

/** Adds an error listener that survives `removeAllListeners`. The transport's own listeners handle errors while it is open. */
function keepErrorListener<Kind extends Socket>(socket: Kind): Kind {
  const guarded: Socket = socket;
  const removeAll = guarded.removeAllListeners.bind(guarded);
  guarded.removeAllListeners = (...events) => {
    // Without an argument: of all events.
    removeAll(...events);
    return guarded.on("error", ignore);
  };
  guarded.on("error", ignore);
  return socket;
}

function ignore(): void {
  // The transport closes the connection on `close`, which follows each error.
}

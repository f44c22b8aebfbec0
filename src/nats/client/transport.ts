/**
 * Connects the NATS client over sockets whose errors always have a listener, and with a faster parser (frames.ts).
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
  setTransportFactory,
} from "@nats-io/transport-node";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";
import { readFrames } from "./frames.js";
import { limitTurn } from "./turn-limit.js";

/** The delay between reconnect attempts, plus up to as much jitter: calls work again within 0.2 s after NATS is back. */
const RECONNECT_WAIT_MS = 100;
const RECONNECT_JITTER_MS = 100;

/** The options of the library, and of this transport. */
export interface TransportOptions extends ConnectionOptions {
  /** The most bytes that one turn of the event loop reads, and one read more: see {@link limitTurn}. Default: no limit. */
  readonly turnBytesMax?: number | undefined;
}

/** Connects, and reconnects unless `options` disables it. */
export async function connect(options: TransportOptions): Promise<NatsConnection> {
  useTransport();
  const known: { connection?: NatsConnection } = {};
  /** The client calls this before each attempt. */
  const reconnectDelayHandler = (): number => {
    useTransport();
    forgetLaterAttempts(known.connection);
    return RECONNECT_WAIT_MS + Math.random() * RECONNECT_JITTER_MS;
  };
  known.connection = await NatsConnectionImpl.connect({ ...options, reconnectDelayHandler });
  return known.connection;
}

/**
 * Forgets attempts that were later than now: the clock was set back. The client would not connect to that server before the clock is there
 * again (`dodialLoop` in nats-core's protocol.js compares `Date.now()`).
 */
function forgetLaterAttempts(connection: NatsConnection | undefined): void {
  if (!(connection instanceof NatsConnectionImpl)) return;
  const nowMs = Date.now();
  for (const server of connection.protocol.servers.getServers())
    if (server.lastConnect > nowMs) server.lastConnect = 0;
}

/** The library has one factory for the whole process: its own `connect`, called by an embedding program, replaces it. */
function useTransport(): void {
  setTransportFactory({ factory: () => new GuardedTransport(), dnsResolveFn: nodeResolveHost });
}

readFrames();

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

  override setupHandlers(): void {
    super.setupHandlers();
    // The library keeps options that it does not know.
    const { turnBytesMax }: TransportOptions = this.options;
    if (turnBytesMax !== undefined) limitTurn(this.socket, turnBytesMax);
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

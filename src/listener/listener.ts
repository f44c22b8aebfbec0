/**
 * The listener: one port for every protocol. It detects HTTP/2 and HTTP/1.1 by a connection's first bytes (over TLS: by ALPN), passes each
 * request to the handler, and drains connections on shutdown. It does not depend on what the handler serves.
 */
import type { Server as NetServer, Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { once } from "node:events";
import { destroyStalledSockets, ErrorCode, errorCodeName } from "@ironflow-kv/http2";
import type { Limits } from "../kv/limits.js";
import type { WireState } from "../kv/wire-state.js";
import type { RequestHandler } from "../protocol/exchange.js";
import { contextOf, makeAcceptor, type TlsMaterial } from "./acceptor.js";
import { FastHttp1Connections } from "./http1/fast-connections.js";
import { NodeHttp1 } from "./http1/node-http1.js";
import { HEAD_BYTES_MAX } from "./http1/simple-request.js";
import { createHttp2, type Http2, type Http2Stack } from "./http2/http2.js";
import { MemoryBudgets } from "./memory-budgets.js";
import { peekProtocol } from "./peek.js";

/**
 * How long idle connections stay open after the listener stops. A request that is already on its way still gets a response, which closes the
 * connection.
 */
const IDLE_GRACE_MS = 100;

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly limits: Limits;
  /** Undefined: cleartext. */
  readonly tls: TlsMaterial | undefined;
  /** Whether clients must or may present a certificate signed by `clientCa`. Default: required. */
  readonly clientCertificates?: "required" | "optional" | undefined;
  /** Which HTTP/2 server to use. Default: our own. */
  readonly http2?: Http2Stack | undefined;
  readonly handler: RequestHandler;
  /** Called with exceptions that the handler throws. Default: ignored. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface Listener {
  readonly port: number;
  /** Such as http://127.0.0.1:9123. */
  readonly url: string;
  state(): WireState;
  /** HTTP/1.1 responses carry `Connection: close` from now on. */
  announceStop(): void;
  /** New connections use this material from now on; open ones keep theirs. No effect without TLS. */
  useTls(material: TlsMaterial): void;
  /** Stops accepting connections, and closes open ones gracefully: calls in flight finish first. */
  stopAccepting(): void;
  /** Resolves when the last connection has closed. Connections still open after `deadlineMs` are destroyed. */
  drain(deadlineMs: number): Promise<void>;
}

/** Opens the port. Rejects with the system's error if it can't. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const server = new PortServer(options);
  await server.open();
  return server;
}

class PortServer implements Listener {
  private readonly sockets = new Set<Socket>();
  private readonly nodeHttp1: NodeHttp1;
  private readonly http2: Http2;
  private readonly acceptor: NetServer;
  private readonly fastConnections: FastHttp1Connections;
  private readonly stallTimer: { stop(): void };
  /** Connections whose protocol is not detected yet. */
  private readonly undetectedSockets = new Set<Socket>();
  private readonly budgets: MemoryBudgets;
  private isStopping = false;
  private isDraining = false;

  constructor(private readonly options: ListenOptions) {
    const { limits, handler } = options;
    const guarded = (carrier: { destroy(): unknown }, run: () => void): void => this.guarded(carrier, run);
    this.budgets = new MemoryBudgets(limits);
    const { budgets } = this;
    this.nodeHttp1 = new NodeHttp1({ limits, handler, budgets, guarded });
    this.http2 = createHttp2(options.http2 ?? "own", {
      limits,
      handler,
      budgets,
      onFault: (error) => options.onFault?.(error),
    });
    this.acceptor = this.makeAcceptor();
    this.acceptor.maxConnections = limits.connectionsMax;
    // (HTTP/2 streams have their own stall checks.)
    this.stallTimer = destroyStalledSockets(this.sockets, limits);
    this.fastConnections = new FastHttp1Connections({
      headBytesMax: Math.min(HEAD_BYTES_MAX, limits.headerBytesMax),
      headersTimeoutMs: limits.headersTimeoutMs,
      idleTimeoutMs: limits.idleTimeoutMs,
      isStopping: () => this.isStopping,
      handle: (exchange) => {
        let isHandled = true;
        this.guarded(exchange.socket, () => {
          isHandled = handler.handleSimple?.(exchange) === true;
        });
        return isHandled;
      },
      incompleteRequests: budgets.incompleteRequests,
      onWritten: (socket) => budgets.countUnsent(socket),
      handOff: (socket) => this.nodeHttp1.accept(socket),
    });
  }

  get port(): number {
    const address = this.acceptor.address();
    return address === null || typeof address === "string" ? this.options.port : address.port;
  }

  get url(): string {
    const { host, tls } = this.options;
    const name = host === "0.0.0.0" || host === "::" ? "localhost" : host.includes(":") ? `[${host}]` : host;
    return `${tls === undefined ? "http" : "https"}://${name}:${this.port}`;
  }

  state(): WireState {
    const { counters } = this.http2;
    return {
      connections: this.sockets.size,
      goAways: named(counters?.goAways),
      resets: named(counters?.resets),
      clientResets: counters?.clientResets ?? 0,
      incompleteRequestBytes: this.budgets.incompleteRequests.bytes,
      unsentResponseBytes: this.budgets.unsentResponses.bytes,
    };
  }

  async open(): Promise<void> {
    this.acceptor.listen({ host: this.options.host, port: this.options.port, backlog: 1_024 });
    await once(this.acceptor, "listening").catch((error: unknown) => {
      this.stop();
      throw error;
    });
  }

  announceStop(): void {
    if (this.isStopping) return;
    this.isStopping = true;
    this.nodeHttp1.announceStop();
  }

  useTls(material: TlsMaterial): void {
    if (this.acceptor instanceof TlsServer) this.acceptor.setSecureContext(contextOf(material));
  }

  stopAccepting(): void {
    this.announceStop();
    if (this.isDraining) return;
    this.isDraining = true;
    this.acceptor.close();
    this.http2.closeGracefully();
    setTimeout(() => this.closeIdle(), IDLE_GRACE_MS);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.stopAccepting();
    const gone: Promise<unknown>[] = [];
    // (Not `once` of node:events: it rejects if a connection ends with an error.)
    for (const socket of this.sockets)
      if (!socket.closed) gone.push(new Promise((resolve) => socket.once("close", resolve)));
    const deadline = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, deadlineMs);
    await Promise.all(gone);
    clearTimeout(deadline);
    this.stop();
  }

  /** Stops the timers and servers once no connection is left. */
  private stop(): void {
    this.stallTimer.stop();
    this.fastConnections.stop();
    this.http2.stop();
    this.nodeHttp1.stop();
  }

  private closeIdle(): void {
    for (const socket of this.undetectedSockets) socket.destroy();
    this.fastConnections.closeUnlessBusy();
    this.nodeHttp1.closeIdle();
  }

  private makeAcceptor(): NetServer {
    const { limits } = this.options;
    const onUndetected = (socket: Socket): void => {
      this.track(socket);
      this.undetectedSockets.add(socket);
      peekProtocol(socket, limits.peekTimeoutMs, (protocol) => this.handOver(socket, protocol));
    };
    return makeAcceptor(this.options, onUndetected, (socket, protocol) => {
      this.track(socket);
      this.handOver(socket, protocol);
    });
  }

  private track(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("close", () => {
      this.sockets.delete(socket);
      this.undetectedSockets.delete(socket);
    });
    // Without a listener, a reset by the peer would crash the process.
    socket.on("error", () => undefined);
  }

  private handOver(socket: Socket, protocol: "http1" | "http2"): void {
    this.undetectedSockets.delete(socket);
    if (protocol === "http2") this.http2.accept(socket);
    else if (this.options.handler.handleSimple === undefined) this.nodeHttp1.accept(socket);
    else this.fastConnections.open(socket);
  }

  /** Contains exceptions: a failing request must not crash the process. */
  private guarded(carrier: { destroy(): unknown }, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.options.onFault?.(error);
      carrier.destroy();
    }
  }
}

/** Counts by the names of error codes, also those that are 0. */
function named(counts: ReadonlyMap<number, number> | undefined): ReadonlyMap<string, number> {
  return new Map(Object.values(ErrorCode).map((code) => [errorCodeName(code), counts?.get(code) ?? 0]));
}

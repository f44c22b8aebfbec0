/**
 * The listener: one port for every protocol. It detects HTTP/2 and HTTP/1.1 by a connection's first bytes (over TLS: by ALPN), passes each
 * request to its handler, and drains connections on shutdown. It does not depend on what the handlers serve.
 */
import type { IncomingMessage, Server as Http1Server, ServerResponse } from "node:http";
import type { Server as NetServer, Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { contextOf, makeAcceptor, type TlsMaterial } from "./acceptor.js";
import { FastHttp1Connections } from "./http1/fast-connections.js";
import { askToClose, PipelineQueue } from "./http1/pipeline-queue.js";
import { HEAD_BYTES_MAX, type PlainRequest } from "./http1/plain-request.js";
import type { PlainResponse } from "./http1/plain-response.js";
import { destroyStalledSockets, ErrorCode, Http2Server, type RequestStream } from "@ironflow-kv/http2";
import type { Limits } from "../kv/limits.js";
import { makeHttp1Server } from "./http1/node-server.js";
import { peekProtocol } from "./peek.js";
import { isMalformed } from "./http1/request-shape.js";

/**
 * How long idle connections stay open after the listener stops. A request that is already on its way still gets a response, which closes the
 * connection.
 */
const IDLE_GRACE_MS = 100;

/** Receives the requests. An exception from one of these ends its request. */
export interface RequestHandlers {
  onHttp1(request: IncomingMessage, response: ServerResponse): void;
  /** A request that expects "100 Continue": the handler sends it before it reads the body, or rejects the request. */
  onHttp1Continue(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A plain HTTP/1.1 request. Returns false, having written nothing, to get it by `onHttp1` instead. Absent: `onHttp1` gets all. */
  onPlain?(request: PlainRequest, response: PlainResponse): boolean;
  onHttp2(stream: RequestStream): void;
}

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly limits: Limits;
  /** Undefined: cleartext. */
  readonly tls: TlsMaterial | undefined;
  /** Whether clients must or may present a certificate signed by `clientCa`. Default: required. */
  readonly clientCertificates?: "required" | "optional" | undefined;
  readonly handlers: RequestHandlers;
  /** Called with exceptions that handlers throw. Default: ignored. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface Listener {
  readonly port: number;
  /** Such as http://127.0.0.1:9123. */
  readonly url: string;
  /** The number of open connections. */
  readonly connections: number;
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
  private readonly http1: Http1Server;
  private readonly http2: Http2Server;
  private readonly acceptor: NetServer;
  private readonly fastConnections: FastHttp1Connections;
  private readonly pipelines = new PipelineQueue();
  private readonly stallTimer: { stop(): void };
  /** HTTP/1.1 responses that are not complete. */
  private readonly responses = new WeakMap<Socket, Set<ServerResponse>>();
  /** Connections whose protocol is not detected yet. */
  private readonly undetectedSockets = new Set<Socket>();
  private isStopping = false;
  private isDraining = false;
  private isIdleGraceOver = false;

  constructor(private readonly options: ListenOptions) {
    this.http1 = makeHttp1Server(options.limits);
    this.http2 = new Http2Server({
      limits: options.limits,
      onStream: (stream) => this.handleStream(stream),
      onFault: (error) => options.onFault?.(error),
    });
    this.acceptor = this.makeAcceptor();
    this.acceptor.maxConnections = options.limits.connectionsMax;
    this.attachHandlers(options.handlers);
    // (HTTP/2 streams have their own stall checks.)
    this.stallTimer = destroyStalledSockets(this.sockets, options.limits);
    this.fastConnections = new FastHttp1Connections({
      headBytesMax: Math.min(HEAD_BYTES_MAX, options.limits.headerBytesMax),
      headersTimeoutMs: options.limits.headersTimeoutMs,
      idleTimeoutMs: options.limits.idleTimeoutMs,
      isStopping: () => this.isStopping,
      handle: (request, response) => this.handlePlain(request, response),
      handOff: (socket) => this.handToNode(socket),
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

  get connections(): number {
    return this.sockets.size;
  }

  async open(): Promise<void> {
    this.acceptor.listen({ host: this.options.host, port: this.options.port, backlog: 1_024 });
    await once(this.acceptor, "listening").catch((error: unknown) => {
      this.stop();
      throw error;
    });
    // This event starts the timer by which Node enforces headersTimeout and requestTimeout.
    this.http1.emit("listening");
  }

  announceStop(): void {
    if (this.isStopping) return;
    this.isStopping = true;
    for (const socket of this.sockets) for (const response of this.responsesOf(socket)) askToClose(response);
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
    setTimeout(() => this.endIdleGrace(), IDLE_GRACE_MS);
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
    this.http1.close();
  }

  private endIdleGrace(): void {
    this.isIdleGraceOver = true;
    for (const socket of this.undetectedSockets) socket.destroy();
    this.fastConnections.closeUnlessBusy();
    this.closeIdleNodeConnections();
  }

  /** Node counts a connection as idle once its response has ended, even if unsent: closes none while a response is being sent. */
  private closeIdleNodeConnections(): void {
    for (const socket of this.sockets)
      for (const response of this.responsesOf(socket)) if (response.writableEnded) return;
    this.http1.closeIdleConnections();
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
      setImmediate(() => this.failPendingResponses(socket));
    });
    // Without a listener, a reset by the peer would crash the process.
    socket.on("error", () => undefined);
  }

  private handOver(socket: Socket, protocol: "http1" | "http2"): void {
    this.undetectedSockets.delete(socket);
    if (protocol === "http2") {
      this.http2.accept(socket);
    } else if (this.options.handlers.onPlain === undefined) {
      this.handToNode(socket);
    } else {
      this.fastConnections.open(socket);
    }
  }

  private handlePlain(request: PlainRequest, response: PlainResponse): boolean {
    let isHandled = true;
    this.guarded(request.socket, () => {
      isHandled = this.options.handlers.onPlain?.(request, response) === true;
    });
    return isHandled;
  }

  private handToNode(socket: Socket): void {
    this.http1.emit("connection", socket);
    socket.resume();
  }

  private attachHandlers(handlers: RequestHandlers): void {
    this.http1.on("request", (request, response) => {
      this.handleHttp1(request, response, () => handlers.onHttp1(request, response));
    });
    this.http1.on("checkContinue", (request, response) => {
      this.handleHttp1(request, response, () => handlers.onHttp1Continue(request, response));
    });
    this.http1.on("upgrade", (request, socket, head) => {
      if (this.rejectsMalformed(request)) return;
      // An upgrade cannot follow a response that is still incomplete.
      if (this.responsesOf(request.socket).size > 0) return void socket.destroy();
      this.guarded(socket, () => handlers.onUpgrade(request, socket, head));
    });
  }

  private handleHttp1(request: IncomingMessage, response: ServerResponse, handle: () => void): void {
    const { socket } = request;
    const earlier = this.responsesOf(socket);
    const isAlone = earlier.size === 0;
    if (PipelineQueue.isClosing(earlier)) return;
    this.prepare(request, response);
    if (this.rejectsMalformed(request)) return;
    this.pipelines.enqueue(socket, isAlone, response, () => this.guarded(socket, handle));
  }

  private handleStream(stream: RequestStream): void {
    this.guarded({ destroy: () => stream.reset(ErrorCode.internalError) }, () =>
      this.options.handlers.onHttp2(stream),
    );
  }

  /** Contains exceptions: a failing request must not crash the process. */
  private guarded(carrier: { destroy(): unknown }, handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.options.onFault?.(error);
      carrier.destroy();
    }
  }

  /** Answers a malformed request with 400 and closes the connection, as Node does: pipelined requests behind it may be smuggled. */
  private rejectsMalformed(request: IncomingMessage): boolean {
    const { socket } = request;
    if (!socket.writableEnded && !isMalformed(request)) return false;
    if (!socket.writableEnded) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    return true;
  }

  private prepare(request: IncomingMessage, response: ServerResponse): void {
    const { "content-length": length, "transfer-encoding": coding } = request.headers;
    if (length !== undefined || coding !== undefined) {
      response.once("finish", () => {
        // An unread rest of the body would block the next request on the connection.
        if (!request.complete) request.resume();
      });
    }
    const responses = this.responsesOf(request.socket).add(response);
    response.once("close", () => {
      responses.delete(response);
      // Its headers may have been sent before the stop, without `Connection: close`: such as an SSE watch.
      if (this.isIdleGraceOver) setImmediate(() => this.closeIdleNodeConnections());
    });
    if (this.isStopping) askToClose(response);
  }

  private responsesOf(socket: Socket): Set<ServerResponse> {
    let responses = this.responses.get(socket);
    if (responses === undefined) {
      responses = new Set();
      this.responses.set(socket, responses);
    }
    return responses;
  }

  /** When a connection closes, Node emits `close` only on the response being written. This does so on the pipelined ones behind it. */
  private failPendingResponses(socket: Socket): void {
    for (const response of this.responsesOf(socket)) {
      response.destroy();
      response.emit("close");
    }
  }
}

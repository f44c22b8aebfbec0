/**
 * The listener: one port for everything. It tells HTTP/2 from HTTP/1.1 by a connection's first bytes (or ALPN under TLS), hands each
 * request to its handler, keeps connections alive or ends them, and drains on shutdown. It knows nothing of what is served.
 */
import type { IncomingMessage, Server as Http1Server, ServerResponse } from "node:http";
import type { Server as NetServer, Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { contextOf, makeAcceptor, type TlsMaterial } from "./acceptor.js";
import { Lanes } from "./http1/lanes.js";
import { HEAD_BYTES_MAX, type PlainRequest } from "./http1/plain-request.js";
import type { PlainResponse } from "./http1/plain-response.js";
import { askToClose, Turns } from "./http1/turns.js";
import { destroyStalledSockets, ErrorCode, Http2Server, type RequestStream } from "@ironflow-kv/http2";
import type { Limits } from "./kv/limits.js";
import { makeHttp1Server } from "./protocol/node-servers.js";
import { peekProtocol } from "./protocol/peek.js";
import { isMalformed } from "./protocol/request-shape.js";

/**
 * How long connections that are open and idle when the listener stops are kept: a request that is on its way to us is still answered, and
 * the answer says that the connection closes.
 */
const GOODBYE_MS = 100;

/** What the requests are handed to. What one of these throws ends its request. */
export interface RequestHandlers {
  onHttp1(request: IncomingMessage, response: ServerResponse): void;
  /** A request that waits for "100 Continue" before its body: whoever takes the body says so, or refuses. */
  onHttp1Continue(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A plain request over HTTP/1.1. False: it is to come by `onHttp1`, and nothing was written. Absent: all of them are. */
  onPlain?(request: PlainRequest, response: PlainResponse): boolean;
  onHttp2(stream: RequestStream): void;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly limits: Limits;
  /** Undefined: cleartext. */
  readonly tls: TlsMaterial | undefined;
  /** Whether clients must show a certificate of `clientCa`, or may. Default: required. */
  readonly clientCertificates?: "required" | "optional" | undefined;
  readonly handlers: RequestHandlers;
  /** Takes what a handler threw: a bug. Default: nobody looks. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface Listener {
  readonly port: number;
  /** Such as http://127.0.0.1:9123. */
  readonly url: string;
  /** How many connections are open. */
  readonly connections: number;
  /** From now on answers over HTTP/1.1 ask their clients to leave the connection; it is used no more then. */
  announceStop(): void;
  /** New connections use these files from now on; those that are open stay as they are. Only where it listens with TLS. */
  useTls(material: TlsMaterial): void;
  /** Takes no more connections, and tells those that are open to go when their calls are done. */
  stopAccepting(): void;
  /** Resolves when the last connection is gone; those left after `deadlineMs` are cut. */
  drain(deadlineMs: number): Promise<void>;
}

/** Opens the port. Rejects with the system's error when it can't. */
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
  private readonly lanes: Lanes;
  private readonly turns = new Turns();
  private readonly stalling: { stop(): void };
  /** HTTP/1.1 answers that are not complete. */
  private readonly responses = new WeakMap<Socket, Set<ServerResponse>>();
  /** Connections that have not said what they speak. */
  private readonly silent = new Set<Socket>();
  private isStopping = false;
  private isDraining = false;
  private isGoodbyeOver = false;

  constructor(private readonly options: ListenOptions) {
    this.http1 = makeHttp1Server(options.limits);
    this.http2 = new Http2Server({
      limits: options.limits,
      onStream: (stream) => this.takeStream(stream),
      onFault: (error) => options.onFault?.(error),
    });
    this.acceptor = this.makeAcceptor();
    this.acceptor.maxConnections = options.limits.connectionsMax;
    this.attachHandlers(options.handlers);
    // Of the streams on an HTTP/2 connection care is taken one by one.
    this.stalling = destroyStalledSockets(this.sockets, options.limits);
    this.lanes = new Lanes({
      headBytesMax: Math.min(HEAD_BYTES_MAX, options.limits.headerBytesMax),
      headersTimeoutMs: options.limits.headersTimeoutMs,
      idleTimeoutMs: options.limits.idleTimeoutMs,
      isStopping: () => this.isStopping,
      take: (request, response) => this.takePlain(request, response),
      leave: (socket) => this.toNode(socket),
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
    // Node enforces headersTimeout and requestTimeout by a timer that it starts on this event of the HTTP server itself.
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
    setTimeout(() => this.endGoodbye(), GOODBYE_MS);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.stopAccepting();
    const gone: Promise<unknown>[] = [];
    // (Not by `once` of the events: it rejects where a connection ends with an error.)
    for (const socket of this.sockets)
      if (!socket.closed) gone.push(new Promise((resolve) => socket.once("close", resolve)));
    const deadline = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, deadlineMs);
    await Promise.all(gone);
    clearTimeout(deadline);
    this.stop();
  }

  /** Ends what goes on without connections. */
  private stop(): void {
    this.stalling.stop();
    this.lanes.stop();
    this.http2.stop();
    this.http1.close();
  }

  private endGoodbye(): void {
    this.isGoodbyeOver = true;
    for (const socket of this.silent) socket.destroy();
    this.lanes.endIdle();
    this.endIdleOfNode();
  }

  /** Node takes a connection for idle when its answer was made; while one is still being sent, all stay. */
  private endIdleOfNode(): void {
    for (const socket of this.sockets)
      for (const response of this.responsesOf(socket)) if (response.writableEnded) return;
    this.http1.closeIdleConnections();
  }

  private makeAcceptor(): NetServer {
    const { limits } = this.options;
    const whenTold = (socket: Socket): void => {
      this.track(socket);
      this.silent.add(socket);
      peekProtocol(socket, limits.peekTimeoutMs, (protocol) => this.handOver(socket, protocol));
    };
    return makeAcceptor(this.options, whenTold, (socket, protocol) => {
      this.track(socket);
      this.handOver(socket, protocol);
    });
  }

  private track(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("close", () => {
      this.sockets.delete(socket);
      this.silent.delete(socket);
      setImmediate(() => this.forsake(socket));
    });
    // Without a listener a reset by the peer would end the process.
    socket.on("error", () => undefined);
  }

  private handOver(socket: Socket, protocol: "http1" | "http2"): void {
    this.silent.delete(socket);
    if (protocol === "http2") {
      this.http2.accept(socket);
    } else if (this.options.handlers.onPlain === undefined) {
      this.toNode(socket);
    } else {
      this.lanes.open(socket);
    }
  }

  private takePlain(request: PlainRequest, response: PlainResponse): boolean {
    let isTaken = true;
    this.guarded(request.socket, () => {
      isTaken = this.options.handlers.onPlain?.(request, response) === true;
    });
    return isTaken;
  }

  private toNode(socket: Socket): void {
    this.http1.emit("connection", socket);
    socket.resume();
  }

  private attachHandlers(handlers: RequestHandlers): void {
    this.http1.on("request", (request, response) => {
      this.take(request, response, () => handlers.onHttp1(request, response));
    });
    this.http1.on("checkContinue", (request, response) => {
      this.take(request, response, () => handlers.onHttp1Continue(request, response));
    });
    this.http1.on("upgrade", (request, socket, head) => {
      if (this.refusesMalformed(request)) return;
      // Behind an answer that is not complete there is no place for what follows.
      if (this.responsesOf(request.socket).size > 0) return void socket.destroy();
      this.guarded(socket, () => handlers.onUpgrade(request, socket, head));
    });
  }

  private take(request: IncomingMessage, response: ServerResponse, handle: () => void): void {
    const { socket } = request;
    const earlier = this.responsesOf(socket);
    const isAlone = earlier.size === 0;
    if (Turns.isOver(earlier)) return;
    this.prepare(request, response);
    if (this.refusesMalformed(request)) return;
    this.turns.take(socket, isAlone, response, () => this.guarded(socket, handle));
  }

  private takeStream(stream: RequestStream): void {
    this.guarded({ destroy: () => stream.reset(ErrorCode.internalError) }, () =>
      this.options.handlers.onHttp2(stream),
    );
  }

  /** Whatever one request brings about, it must not end the process: that would end all others. */
  private guarded(carrier: { destroy(): unknown }, handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.options.onFault?.(error);
      carrier.destroy();
    }
  }

  /** Ends the connection, as Node does for what it refuses itself: requests behind this one may be part of a trick. */
  private refusesMalformed(request: IncomingMessage): boolean {
    const { socket } = request;
    if (!socket.writableEnded && !isMalformed(request)) return false;
    if (!socket.writableEnded) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    return true;
  }

  private prepare(request: IncomingMessage, response: ServerResponse): void {
    const { "content-length": length, "transfer-encoding": coding } = request.headers;
    if (length !== undefined || coding !== undefined) {
      response.once("finish", () => {
        // A body that was answered before its end would block the connection's next request.
        if (!request.complete) request.resume();
      });
    }
    const responses = this.responsesOf(request.socket).add(response);
    response.once("close", () => {
      responses.delete(response);
      // One whose headers were out before could not ask, such as a watch by SSE.
      if (this.isGoodbyeOver) setImmediate(() => this.endIdleOfNode());
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

  /** Node says `close` of the answer that is being written, but not of those that wait behind it (pipelining). */
  private forsake(socket: Socket): void {
    for (const response of this.responsesOf(socket)) {
      response.destroy();
      response.emit("close");
    }
  }
}

/** HTTP/1.1 by Node's server, for all requests that are not simple: malformed, slow, large and pipelined ones, and upgrades. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Limits } from "../../kv/limits.js";
import type { RequestHandler } from "../../protocol/exchange.js";
import type { MemoryBudgets } from "../memory-budgets.js";
import { HTTP1_HEAD_TOO_LONG, HTTP1_OVERLOADED } from "../response-framing.js";
import { HeadGate } from "./head-gate.js";
import { headWithoutUpgrade, isWebSocketUpgrade } from "./ignored-upgrade.js";
import { NodeHttp1Exchange } from "./node-exchange.js";
import { makeHttp1Server } from "./node-server.js";
import { NodeUpgrade } from "./node-upgrade.js";
import { askToClose, PipelineQueue } from "./pipeline-queue.js";
import { isMalformed } from "./request-shape.js";

export interface NodeHttp1Options {
  readonly limits: Limits;
  readonly handler: RequestHandler;
  readonly budgets: MemoryBudgets;
  /** Runs code that may throw: an exception destroys the carrier, not the process. */
  readonly guarded: (carrier: { destroy(): unknown }, run: () => void) => void;
}

export class NodeHttp1 {
  private readonly server: Server;
  private readonly pipelines = new PipelineQueue();
  /** Responses that are not complete. */
  private readonly responses = new Map<Duplex, Set<ServerResponse>>();
  private readonly gates = new WeakMap<Duplex, HeadGate>();
  private isStopping = false;
  private closesIdle = false;

  constructor(private readonly options: NodeHttp1Options) {
    this.server = makeHttp1Server(options.limits);
    this.server.on("request", (request, response) => this.onRequest(request, response, false));
    this.server.on("checkContinue", (request, response) => this.onRequest(request, response, true));
    this.server.on("checkExpectation", (request, response) => this.refuseExpectation(request, response));
    this.server.on("upgrade", (request, socket, head) => this.onUpgrade(request, socket, head));
    // This event starts the timer by which Node enforces headersTimeout and requestTimeout.
    this.server.emit("listening");
  }

  /** Serves a connection, whose read bytes are back in its buffer. */
  accept(socket: Socket): void {
    // Deferred: Node emits `close` on the response being written only, and then calls its handlers.
    socket.on("close", () => setImmediate(() => this.failPendingResponses(socket)));
    this.serve(socket);
  }

  /** Responses carry `Connection: close` from now on. */
  announceStop(): void {
    this.isStopping = true;
    for (const responses of this.responses.values()) for (const response of responses) askToClose(response);
  }

  /** Closes idle connections, and others when their response is complete. */
  closeIdle(): void {
    this.closesIdle = true;
    // Node counts a connection as idle once its response has ended, even if unsent: closes none while a response is being sent.
    for (const responses of this.responses.values())
      for (const response of responses) if (response.writableEnded) return;
    this.server.closeIdleConnections();
  }

  stop(): void {
    this.server.close();
  }

  private onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { socket } = request;
    this.gates.get(socket)?.completed(request);
    const earlier = this.responses.get(socket);
    const isAlone = earlier === undefined || earlier.size === 0;
    if (earlier !== undefined && PipelineQueue.isClosing(earlier)) return;
    this.track(socket, response);
    if (this.rejectsMalformed(request)) return;
    const exchange = new NodeHttp1Exchange(request, response, expectsContinue, this.options.budgets);
    if (!exchange.admit()) return;
    this.pipelines.enqueue(socket, isAlone, response, () =>
      this.options.guarded(socket, () => this.options.handler.handle(exchange)),
    );
  }

  /** RFC 9110 section 10.1.1. */
  private refuseExpectation(request: IncomingMessage, response: ServerResponse): void {
    this.gates.get(request.socket)?.completed(request);
    response.writeHead(417).end();
  }

  private onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const unparsed = this.gates.get(socket)?.stop() ?? Buffer.alloc(0);
    const rest = Buffer.concat([head, unparsed]);
    if (this.rejectsMalformed(request)) return;
    // An upgrade cannot follow a response that is still incomplete.
    if ((this.responses.get(request.socket)?.size ?? 0) > 0) return void socket.destroy();
    if (!isWebSocketUpgrade(request)) {
      this.ignoreUpgrade(request, rest);
      return;
    }
    this.options.guarded(socket, () =>
      this.options.handler.handleUpgrade(new NodeUpgrade(request, socket, rest, this.options.budgets)),
    );
  }

  private ignoreUpgrade(request: IncomingMessage, head: Buffer): void {
    const { socket } = request;
    socket.unshift(Buffer.concat([headWithoutUpgrade(request), head]));
    this.serve(socket);
  }

  private serve(socket: Socket): void {
    this.server.emit("connection", socket);
    const { budgets, limits } = this.options;
    const gate = new HeadGate(socket, {
      budget: budgets.incompleteRequests,
      sectionBytesMax: limits.headerBytesMax,
      refuse: (reason) =>
        this.refuseSection(socket, reason === "overloaded" ? HTTP1_OVERLOADED : HTTP1_HEAD_TOO_LONG),
    });
    this.gates.set(socket, gate);
    socket.resume();
  }

  /** Closes a connection whose next request has not arrived completely. */
  private refuseSection(socket: Socket, response: string): void {
    // A response in progress is lost: its client sent more before it was complete.
    if (this.responses.has(socket)) socket.destroy();
    else socket.end(response, () => socket.destroy());
  }

  /** Answers a malformed request with 400 and closes the connection, as Node does: pipelined requests behind it may be smuggled. */
  private rejectsMalformed(request: IncomingMessage): boolean {
    const { socket } = request;
    if (!socket.writableEnded && !isMalformed(request)) return false;
    if (!socket.writableEnded) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    return true;
  }

  private track(socket: Socket, response: ServerResponse): void {
    const responses = this.responses.get(socket) ?? new Set();
    this.responses.set(socket, responses.add(response));
    response.once("close", () => {
      responses.delete(response);
      if (responses.size === 0) this.responses.delete(socket);
      // Its headers may have been sent before the stop, without `Connection: close`: such as an SSE watch.
      if (this.closesIdle) setImmediate(() => this.closeIdle());
    });
    if (this.isStopping) askToClose(response);
  }

  /** When a connection closes, Node emits `close` only on the response being written. This does so on the pipelined ones behind it. */
  private failPendingResponses(socket: Socket): void {
    for (const response of this.responses.get(socket) ?? []) {
      response.destroy();
      response.emit("close");
    }
  }
}

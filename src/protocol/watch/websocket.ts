/**
 * A watch over WebSocket (RFC 6455). Errors that are known before the handshake are HTTP responses: a path that is not a watch, a malformed
 * request, a missing API key or bucket. Later errors are an error frame and a close.
 */
import { type IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type ServerOptions, WebSocketServer } from "ws";
import type { WatchResponse } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { Limits } from "../../kv/limits.js";
import type { ServiceRegistry } from "../../service/calls.js";
import type { PageGuard } from "../page-guard.js";
import { REQUEST_ID_HEADER, requestIdOf } from "../request-id.js";
import { bindCall, findRoute } from "../rest/bind.js";
import { badRequest, opaqueRefusal, Refusal, refusalOf } from "../rest/errors.js";
import type { FaultLog } from "../rest/handler.js";
import { splitTarget } from "../rest/percent.js";
import type { Router } from "../rest/router.js";
import { createRouter, type Endpoint } from "../rest/routes.js";
import { sendRefusal } from "../rest/send.js";
import { WatchSocket } from "./watch-socket.js";

export interface WatchUpgradeOptions {
  readonly registry: ServiceRegistry;
  readonly limits: Limits;
  /** Decides which pages may connect: browsers do not apply CORS to WebSockets. Default: all. */
  readonly pageGuard?: PageGuard | undefined;
  readonly log: FaultLog;
  /**
   * Answers requests for other upgrades, such as h2c from `curl --http2`. A server may ignore them (RFC 9110 section 7.8), but Node emits
   * `upgrade` for every one. Default: they are rejected.
   */
  readonly answerWithoutUpgrade?: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
}

/** Handles the `upgrade` events of an HTTP/1.1 server; never throws. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** How long to wait for the client's close frame. */
const CLOSE_TIMEOUT_MS = 2_000;

/** `closeTimeout` is missing in the types of ws. */
function handshakeOptions(limits: Limits): ServerOptions & { readonly closeTimeout: number } {
  return {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.webSocketMessageBytesMax,
    closeTimeout: CLOSE_TIMEOUT_MS,
  };
}

/** Creates the upgrade handler. Throws RouteError if the contract has a rule that can't be served. */
export function createWatchUpgrade(options: WatchUpgradeOptions): UpgradeHandler {
  const door = new WatchDoor(createRouter(options.registry), options);
  return (request, socket, head) => {
    // Without a listener, a reset by the client would crash the process.
    socket.on("error", () => undefined);
    door.upgrade(request, socket, head).catch((error: unknown) => door.refuse(request, socket, error));
  };
}

class WatchDoor {
  private readonly handshake: WebSocketServer;

  constructor(
    private readonly router: Router<Endpoint>,
    private readonly options: WatchUpgradeOptions,
  ) {
    this.handshake = new WebSocketServer(handshakeOptions(options.limits));
    this.handshake.on("headers", (lines, request) => {
      lines.push(`${REQUEST_ID_HEADER}: ${requestIdOf(request.headers)}`);
    });
  }

  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    if (request.headers.upgrade?.toLowerCase() !== "websocket") {
      this.answerWithoutUpgrade(request, socket);
      return;
    }
    requestIdOf(request.headers);
    const target = splitTarget(request.url ?? "");
    const match = findRoute(this.router, request.method ?? "", target);
    const endpoint = match.route.target;
    if (!endpoint.isStream) throw badRequest("This is no watch; send the request without Upgrade.");
    checkHandshake(request);
    const refusal = this.options.pageGuard?.(request.headers.origin, request.headers.host);
    if (refusal !== undefined) throw new Refusal(403, "permission_denied", refusal);
    const call = bindCall(match, target, request, "websocket", socket);
    const events = (await this.options.registry.stream(
      endpoint.method,
      call,
      call.request,
    )) as AsyncIterableIterator<WatchResponse>;
    // Also if the client only half-closed: the handshake would fail silently.
    if (!socket.readable || !socket.writable) {
      await events.return?.();
      socket.destroy();
      return;
    }
    this.handshake.handleUpgrade(request, socket, head, (webSocket) => {
      new WatchSocket(webSocket, socket, endpoint.method, events, call, this.options).start();
    });
  }

  /** Sends an HTTP error on the raw connection and closes it. */
  refuse(request: IncomingMessage, socket: Duplex, error: unknown): void {
    const refusal = refusalOf(error);
    const requestId = requestIdOf(request.headers);
    if (refusal === undefined) {
      this.options.log.error({ err: error, request_id: requestId }, "Failed to answer a WebSocket upgrade.");
    }
    if (socket.destroyed) return;
    const response = responseOn(request, socket);
    response.setHeader(REQUEST_ID_HEADER, requestId);
    sendRefusal(request, response, refusal ?? opaqueRefusal(requestId));
  }

  private answerWithoutUpgrade(request: IncomingMessage, socket: Duplex): void {
    const { "content-length": length = "0", "transfer-encoding": coding } = request.headers;
    const answer = this.options.answerWithoutUpgrade;
    if (answer === undefined || length !== "0" || coding !== undefined) {
      throw badRequest("There is no upgrade but to websocket; send the request without Upgrade.");
    }
    answer(request, responseOn(request, socket));
  }
}

/** RFC 6455 section 4.2.1. Checked before the watch starts, since the handshake would fail later. */
function checkHandshake(request: IncomingMessage): void {
  if (request.headers["sec-websocket-version"] !== "13") {
    throw new Refusal(426, "upgrade_required", "Sec-WebSocket-Version must be 13.", {
      "sec-websocket-version": 13,
      upgrade: "websocket",
      connection: "Upgrade",
    });
  }
  if (!/^[A-Za-z0-9+/]{22}==$/.test(request.headers["sec-websocket-key"] ?? "")) {
    throw badRequest("Sec-WebSocket-Key is missing or malformed; it must be 16 bytes in base64.");
  }
}

/** A response on a connection that Node released for the upgrade. It closes the connection. */
function responseOn(request: IncomingMessage, socket: Duplex): ServerResponse {
  if (!(socket instanceof Socket)) throw new Error("The connection of an upgrade is no socket.");
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once("finish", () => socket.end());
  return response;
}

/**
 * A watch over WebSocket (RFC 6455). Errors that are known before the handshake are HTTP responses: a path that is not a watch, a malformed
 * request, a missing API key or bucket. Later errors are an error frame and a close.
 */
import { type ServerOptions, WebSocketServer } from "ws";
import type { Limits } from "../../kv/limits.js";
import type { ServiceRegistry } from "../../service/calls.js";
import type { Upgrade } from "../exchange.js";
import type { PageGuard } from "../page-guard.js";
import { REQUEST_ID_HEADER, requestIdOf } from "../request-id.js";
import { bindCall, findRoute } from "../rest/bind.js";
import { badRequest, opaqueRefusal, Refusal, refusalOf, sendRefusal } from "../rest/errors.js";
import type { FaultLog } from "../rest/handler.js";
import { splitTarget } from "../rest/percent.js";
import type { Router } from "../rest/router.js";
import { createRouter, type Endpoint } from "../rest/routes.js";
import { framesOf } from "./frames.js";
import { pieceBytesFor, receiveInPieces } from "./received-pieces.js";
import { WatchSocket } from "./watch-socket.js";

export interface WatchUpgradeOptions {
  readonly registry: ServiceRegistry;
  readonly limits: Limits;
  /** Decides which pages may connect: browsers do not apply CORS to WebSockets. Default: all. */
  readonly pageGuard?: PageGuard | undefined;
  readonly log: FaultLog;
}

/** How long to wait for the client's close frame. */
const CLOSE_TIMEOUT_MS = 2_000;
/** The most fragments of one message (RFC 6455 section 5.4). More get 1008. */
const FRAGMENTS_MAX = 16;
/** The most pieces of one frame that are kept until it is complete, beside those of the largest message. More get 1008. */
const SPARE_PIECES = 64;

/** `closeTimeout` is missing in the types of ws. */
function handshakeOptions(limits: Limits): ServerOptions & { readonly closeTimeout: number } {
  return {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.webSocketMessageBytesMax,
    maxFragments: FRAGMENTS_MAX,
    maxBufferedChunks:
      SPARE_PIECES +
      Math.ceil(limits.webSocketMessageBytesMax / pieceBytesFor(limits.webSocketMessageBytesMax)),
    closeTimeout: CLOSE_TIMEOUT_MS,
  };
}

/** Creates the handler of upgrades, which never throws. Throws RouteError if the contract has a rule that can't be served. */
export function createWatchUpgrade(options: WatchUpgradeOptions): (upgrade: Upgrade) => void {
  const door = new WatchDoor(createRouter(options.registry), options);
  return (upgrade) => {
    door.upgrade(upgrade).catch((error: unknown) => door.refuse(upgrade, error));
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

  async upgrade(upgrade: Upgrade): Promise<void> {
    const { headers, socket } = upgrade;
    requestIdOf(headers);
    const target = splitTarget(upgrade.target);
    const match = findRoute(this.router, upgrade.method, target);
    const endpoint = match.route.target;
    if (!endpoint.isStream || endpoint.shape.lines !== undefined)
      throw badRequest("This is no watch; send the request without Upgrade.");
    checkHandshake(upgrade);
    const refusal = this.options.pageGuard?.(headers.origin, upgrade.authority);
    if (refusal !== undefined) throw new Refusal(403, "permission_denied", refusal);
    const call = bindCall(match, target, upgrade, "websocket");
    const events = await this.options.registry.stream(endpoint.method, call, call.request);
    // Progress comes only if the request has an interval.
    const wants = { snapshotEnd: call.options.snapshotEnd === true, progress: true };
    const frames = framesOf(endpoint.shape, call, wants);
    // Also if the client only half-closed: the handshake would fail silently.
    if (!socket.readable || !socket.writable) {
      await events.return?.();
      socket.destroy();
      return;
    }
    this.handshake.handleUpgrade(upgrade.request, socket, upgrade.head, (webSocket) => {
      receiveInPieces(socket, pieceBytesFor(this.options.limits.webSocketMessageBytesMax));
      new WatchSocket(webSocket, socket, endpoint.method, events, frames, call, {
        ...this.options,
        onWritten: () => upgrade.countUnsent(),
      }).start();
    });
  }

  /** Sends an HTTP error and closes the connection. */
  refuse(upgrade: Upgrade, error: unknown): void {
    const refusal = refusalOf(error);
    const requestId = requestIdOf(upgrade.headers);
    if (refusal === undefined) {
      this.options.log.error({ err: error, request_id: requestId }, "Failed to answer a WebSocket upgrade.");
    }
    if (upgrade.isClosed) return;
    const exchange = upgrade.decline();
    exchange.commonFields[REQUEST_ID_HEADER] = requestId;
    sendRefusal(exchange, refusal ?? opaqueRefusal(requestId));
  }
}

/** RFC 6455 section 4.2.1. Checked before the watch starts, since the handshake would fail later. */
function checkHandshake({ headers }: Upgrade): void {
  if (headers["sec-websocket-version"] !== "13") {
    throw new Refusal(426, "upgrade_required", "Sec-WebSocket-Version must be 13.", {
      "sec-websocket-version": "13",
      upgrade: "websocket",
      connection: "Upgrade",
    });
  }
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers["sec-websocket-key"] ?? "")) {
    throw badRequest("Sec-WebSocket-Key is missing or malformed; it must be 16 bytes in base64.");
  }
}

/** Dispatches requests to the protocols' handlers ("doors"). Each door translates between its wire format and the service. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Limits } from "../kv/limits.js";
import type { PlainRequest } from "../listener/http1/plain-request.js";
import type { PlainResponse } from "../listener/http1/plain-response.js";
import type { RequestStream } from "@ironflow-kv/http2";
import type { RequestHandlers } from "../listener/listener.js";
import type { ServiceRegistry } from "../service/calls.js";
import type { Health } from "../service/health.js";
import { createConnectAdapter } from "./connect.js";
import { createCors } from "./cors.js";
import { createFastPath } from "./fast-path.js";
import { answerHealth } from "./health.js";
import { answerMetrics, type MetricsOptions } from "./metrics.js";
import { nodeCallOf } from "./node-stream.js";
import { createPageGuard } from "./page-guard.js";
import { REQUEST_ID_HEADER, requestIdOf } from "./request-id.js";
import { createRestHandler } from "./rest/handler.js";
import { splitTarget } from "./rest/percent.js";
import { createStaticFiles } from "./static.js";
import { createWatchUpgrade } from "./watch/websocket.js";

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

export interface DoorsOptions {
  readonly registry: ServiceRegistry;
  readonly health: Health;
  readonly metrics: MetricsOptions;
  readonly config: {
    readonly limits: Limits;
    readonly allowedOrigins: readonly string[] | "*" | undefined;
    readonly allowAnonymous: boolean;
    readonly fastPath: boolean;
  };
  /** Whether calls need no API key at the moment: none exists. */
  readonly needsNoKey: () => boolean;
  readonly log: Logger;
}

/** Creates the listener's handlers for all doors. Throws if the contract has a rule that can't be served. */
export function createDoors(options: DoorsOptions): RequestHandlers {
  const { registry, config, log } = options;
  const { limits } = config;
  const cors = createCors({ allowedOrigins: config.allowedOrigins });
  const rest = createRestHandler({ registry, limits, cors, log });
  const files = createStaticFiles();
  const stock = createConnectAdapter({ registry, limits, log });
  const fast = config.fastPath ? createFastPath({ registry, limits, log, cors }) : undefined;

  // Without API keys and without ALLOW_ANONYMOUS, the service listens on loopback only: the configuration enforces it.
  const pageGuard = createPageGuard(cors, () => !config.allowAnonymous && options.needsNoKey());

  const dispatch = (request: Request, response: Response, awaitsContinue = false): void => {
    const { path } = splitTarget(request.url ?? "/");
    const requestId = requestIdOf(request.headers);
    const refusal = pageGuard(request.headers.origin, authorityOf(request));
    if (refusal === undefined && rest.handles(path)) {
      rest.handle(request, response, awaitsContinue);
      return;
    }
    response.setHeader(REQUEST_ID_HEADER, requestId);
    if (refusal !== undefined) {
      refuse(response, refusal);
    } else if (path === "/healthz" || path === "/readyz") {
      void answerHealth(path, response, options.health);
    } else if (path === "/metrics") {
      void answerMetrics(request, response, options.metrics);
    } else if (files(request.method ?? "", path, response)) {
      return;
    } else if (!cors.apply(request, response)) {
      if (awaitsContinue) response.writeContinue();
      stock(request, response);
    }
  };
  const upgrade = createWatchUpgrade({
    registry,
    limits,
    pageGuard,
    log,
    // Such as h2c from curl: answer the request as if it had no Upgrade header.
    answerWithoutUpgrade: (request, response) => dispatch(request, response),
  });

  return {
    onHttp1(request: IncomingMessage, response: ServerResponse) {
      const { origin, host } = request.headers;
      if (pageGuard(origin, host) === undefined && fast?.handleHttp1(request, response) === true) return;
      dispatch(request, response);
    },
    onPlain(request: PlainRequest, response: PlainResponse) {
      const { path } = splitTarget(request.url);
      if (!rest.isPlain(path) || pageGuard(undefined, request.headers.host) !== undefined) return false;
      requestIdOf(request.headers);
      // They implement the subset that the REST bridge uses.
      rest.handle(request as unknown as IncomingMessage, response as unknown as ServerResponse);
      return true;
    },
    onHttp1Continue(request: IncomingMessage, response: ServerResponse) {
      dispatch(request, response, true);
    },
    onHttp2(stream: RequestStream) {
      const { headers } = stream;
      const authority = headers[":authority"]?.toString() ?? headers.host;
      if (pageGuard(headers.origin, authority) === undefined && fast?.handleHttp2(stream) === true) return;
      dispatch(...nodeCallOf(stream), headers.expect?.toLowerCase() === "100-continue");
    },
    onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer) {
      upgrade(request, socket, head);
    },
  };
}

function authorityOf(request: Request): string | undefined {
  return "authority" in request ? request.authority : request.headers.host;
}

function refuse(response: Response, sentence: string): void {
  response.statusCode = 403;
  response.setHeader("content-type", "application/json");
  response.setHeader("vary", "Origin");
  response.end(JSON.stringify({ error: sentence, code: "permission_denied" }));
}

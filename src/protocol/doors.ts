/** Who gets which request: the one place that knows all doors. Each door only translates between its wire form and the service. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Config } from "../config.js";
import type { RequestHandlers, StreamArguments } from "../server.js";
import type { ServiceRegistry } from "../service/calls.js";
import { createConnectAdapter } from "./connect.js";
import { type Cors, createCors } from "./cors.js";
import { answerHealth, type Readiness } from "./health.js";
import { createRestHandler } from "./rest/handler.js";
import { splitTarget } from "./rest/percent.js";
import { createStaticFiles } from "./static.js";
import { createUnaryFastPath } from "./unary/fast-path.js";
import { createWatchUpgrade } from "./watch/websocket.js";

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

export interface DoorsOptions {
  readonly registry: ServiceRegistry;
  /** Asked by GET /readyz. */
  readonly readiness: Readiness;
  readonly config: Config;
  readonly log: Logger;
}

/** All doors on the handlers that the listener calls; `stop` makes GET /readyz say no. */
export interface Doors extends RequestHandlers {
  stop(): void;
}

/** Makes the doors. Throws where the contract can't be routed. */
export function createDoors(options: DoorsOptions): Doors {
  const { registry, config, log } = options;
  const { limits } = config;
  let isStopping = false;
  const cors = createCors({ allowedOrigins: config.allowedOrigins });
  const rest = createRestHandler({ registry, limits, cors, log });
  const files = createStaticFiles();
  const stock = createConnectAdapter({ registry, limits, log });
  const unary = config.fastPath ? createUnaryFastPath({ registry, limits, log, cors }) : undefined;

  const isAllowed = (origin: string | undefined): boolean => origin === undefined || cors.allows(origin);

  const dispatch = (request: Request, response: Response, awaitsContinue = false): void => {
    const { path } = splitTarget(request.url ?? "/");
    if (refusesOrigin(cors, request)) {
      answer(
        response,
        403,
        '{"error":"Pages of this origin may not call the service.","code":"permission_denied"}',
      );
    } else if (rest.handles(path)) {
      rest.handle(request, response, awaitsContinue);
    } else if (path === "/healthz" || path === "/readyz") {
      void answerHealth(path, response, isStopping, options.readiness);
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
    cors,
    log,
    // Such as curl's offer of h2c: the request is answered as if it had not offered anything.
    answerWithoutUpgrade: (request, response) => dispatch(request, response),
  });

  return {
    onHttp1(request: IncomingMessage, response: ServerResponse) {
      if (isAllowed(request.headers.origin) && unary?.handleHttp1(request, response) === true) return;
      dispatch(request, response);
    },
    onHttp1Continue(request: IncomingMessage, response: ServerResponse) {
      dispatch(request, response, true);
    },
    onHttp2(...[stream, headers, flags, rawHeaders]: StreamArguments) {
      if (isAllowed(headers.origin) && unary?.handleHttp2(stream, headers, flags) === true) return;
      dispatch(new Http2ServerRequest(stream, headers, {}, rawHeaders), new Http2ServerResponse(stream));
    },
    onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer) {
      upgrade(request, socket, head);
    },
    stop() {
      isStopping = true;
    },
  };
}

/**
 * Whether the request comes from a page of an origin that is not allowed. Without CORS headers the page could not read the answer, but a
 * change would have been made all the same.
 */
function refusesOrigin(cors: Cors, request: Request): boolean {
  const { origin } = request.headers;
  if (origin === undefined || cors.allows(origin)) return false;
  const authority = "authority" in request ? request.authority : request.headers.host;
  return !(origin === `http://${authority ?? ""}` || origin === `https://${authority ?? ""}`);
}

function answer(response: Response, status: number, json: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(json);
}

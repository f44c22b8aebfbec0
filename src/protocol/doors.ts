/** Who gets which request: the one place that knows all doors. Each door only translates between its wire form and the service. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Config } from "../config.js";
import type { RequestHandlers, StreamArguments } from "../server.js";
import type { ServiceRegistry } from "../service/calls.js";
import { createConnectAdapter } from "./connect.js";
import { createCors } from "./cors.js";
import { answerHealth, type Readiness } from "./health.js";
import { createRestHandler } from "./rest/handler.js";
import { createUnaryFastPath } from "./unary/fast-path.js";
import { createWatchUpgrade } from "./watch/websocket.js";

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
  const upgrade = createWatchUpgrade({ registry, limits, cors, log });
  const stock = createConnectAdapter({ registry, limits, log });
  const unary = config.fastPath ? createUnaryFastPath({ registry, limits, log }) : undefined;

  type Request = IncomingMessage | Http2ServerRequest;
  type Response = ServerResponse | Http2ServerResponse;

  const dispatch = (request: Request, response: Response): void => {
    const path = pathOf(request.url ?? "/");
    if (rest.handles(path)) {
      rest.handle(request, response);
      return;
    }
    if (path === "/healthz" || path === "/readyz") {
      void answerHealth(path, response, isStopping, options.readiness);
      return;
    }
    if (!cors.apply(request, response)) stock(request, response);
  };

  return {
    onHttp1(request: IncomingMessage, response: ServerResponse) {
      if (unary?.handleHttp1(request, response) !== true) dispatch(request, response);
    },
    onHttp2(...[stream, headers, flags, rawHeaders]: StreamArguments) {
      if (unary?.handleHttp2(stream, headers, flags) === true) return;
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

/** The path of a request target, without its query. */
function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

/** Dispatches requests to the protocols' handlers ("doors"). Each door translates between its wire format and the service. */
import { keepByteOrderMarks } from "./rpc/text-encoding.js";
import type { Logger } from "pino";
import type { Limits } from "../kv/limits.js";
import type { ServiceRegistry } from "../service/calls.js";
import type { Health } from "../service/health.js";
import { createCors } from "./cors.js";
import type { Exchange, RequestHandler } from "./exchange.js";
import { createFastPath } from "./fast-path.js";
import { asBinaryGrpcWeb } from "./grpc-web-text.js";
import { answerDiscovery, isDiscovery } from "./health.js";
import { answerMetrics, type MetricsOptions } from "./metrics.js";
import { createPageGuard } from "./page-guard.js";
import { REQUEST_ID_HEADER, requestIdOf } from "./request-id.js";
import { Refusal, sendRefusal } from "./rest/errors.js";
import { createRestHandler } from "./rest/handler.js";
import { splitTarget } from "./rest/percent.js";
import { createStaticFiles } from "./static.js";
import { createStockAdapter } from "./stock-adapter.js";
import { createWatchUpgrade } from "./watch/websocket.js";

export interface DoorsOptions {
  readonly registry: ServiceRegistry;
  readonly health: Health;
  readonly metrics: MetricsOptions;
  /** Of the service. */
  readonly version: string;
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

/** Creates the listener's handler for all doors. Throws if the contract has a rule that can't be served. */
export function createDoors(options: DoorsOptions): RequestHandler {
  keepByteOrderMarks();
  const { registry, config, log } = options;
  const { limits } = config;
  const cors = createCors({ allowedOrigins: config.allowedOrigins });
  const rest = createRestHandler({ registry, limits, cors, log });
  const files = createStaticFiles();
  const stock = createStockAdapter({ registry, limits, log });
  const fast = config.fastPath ? createFastPath({ registry, limits, log, cors }) : undefined;

  // Without API keys and without ALLOW_ANONYMOUS, the service listens on loopback only: the configuration enforces it.
  const pageGuard = createPageGuard(cors, () => !config.allowAnonymous && options.needsNoKey());
  const refusalOf = ({ headers, authority }: Exchange): string | undefined =>
    pageGuard(headers.origin, authority);

  const dispatch = (exchange: Exchange): void => {
    const { path } = splitTarget(exchange.target === "" ? "/" : exchange.target);
    exchange.commonFields[REQUEST_ID_HEADER] = requestIdOf(exchange.headers);
    const refusal = refusalOf(exchange);
    if (refusal !== undefined) {
      sendRefusal(exchange, new Refusal(403, "permission_denied", refusal, { vary: "Origin" }));
    } else if (isDiscovery(path)) {
      if (!cors.apply(exchange)) void answerDiscovery(path, exchange, options);
    } else if (rest.handles(path)) {
      rest.handle(exchange);
    } else if (path === "/metrics") {
      void answerMetrics(exchange, options.metrics);
    } else if (!files(exchange, path) && !cors.apply(exchange)) {
      stock(exchange);
    }
  };

  return {
    handle(request) {
      const exchange = asBinaryGrpcWeb(request);
      if (refusalOf(exchange) === undefined && fast?.handle(exchange) === true) return;
      dispatch(exchange);
    },
    handleSimple(request) {
      const exchange = asBinaryGrpcWeb(request);
      if (refusalOf(exchange) !== undefined) return false;
      if (fast?.handleUnary(exchange) === true) return true;
      const { path } = splitTarget(exchange.target);
      if (isDiscovery(path) || !rest.isSimple(path)) return false;
      rest.handle(exchange);
      return true;
    },
    handleUpgrade: createWatchUpgrade({
      registry,
      limits,
      pageGuard,
      log,
    }),
  };
}

/** Serves GET /metrics on a separate port (METRICS_PORT) without authentication: restrict access by network. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { Limits } from "../kv/limits.js";
import { NodeHttp1Exchange } from "./http1/node-exchange.js";
import { answerMetrics, type MetricsOptions } from "../protocol/metrics.js";

export interface MetricsServer {
  readonly port: number;
  stop(): void;
}

/** Opens the port. Rejects with the system's error if it can't. */
export async function serveMetrics(
  address: { readonly host: string; readonly port: number },
  limits: Limits,
  options: Omit<MetricsOptions, "access">,
): Promise<MetricsServer> {
  const { headerBytesMax, headersTimeoutMs, requestTimeoutMs, idleTimeoutMs, connectionsMax } = limits;
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
    },
    (request, response) => {
      if (request.url === "/metrics") {
        const exchange = new NodeHttp1Exchange(request, response);
        void answerMetrics(exchange, { ...options, access: undefined });
      } else {
        response.writeHead(404).end();
      }
    },
  );
  server.maxConnections = connectionsMax;
  server.listen(address);
  await once(server, "listening");
  const bound = server.address();
  return {
    port: bound === null || typeof bound === "string" ? address.port : bound.port,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

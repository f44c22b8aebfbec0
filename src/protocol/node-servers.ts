/** Node's own server of HTTP/1.1, with our limits. It does not listen: connections are handed to it. */
import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import type { Limits } from "../kv/limits.js";

export function makeHttp1Server(limits: Limits): Http1Server {
  const server = createHttp1Server({
    maxHeaderSize: limits.headerBytesMax,
    // Node would refuse one without, and then answer the next on its connection all the same; isMalformed sees to it.
    requireHostHeader: false,
    // Node refuses one that is longer than the time for the whole.
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: Math.max(100, Math.min(5_000, limits.headersTimeoutMs / 2)),
    noDelay: true,
  });
  // Reading a request is bounded above, making its answer by the call's deadline, taking it by endStalledConnections.
  server.timeout = 0;
  return server;
}

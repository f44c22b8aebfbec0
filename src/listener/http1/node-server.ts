/** Node's HTTP/1.1 server with our limits. It does not listen: the listener passes it connections. */
import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import type { Limits } from "../../kv/limits.js";

export function makeHttp1Server(limits: Limits): Http1Server {
  const server = createHttp1Server({
    maxHeaderSize: limits.headerBytesMax,
    // Node rejects a request without Host, but keeps the connection open. isMalformed replaces this check.
    requireHostHeader: false,
    // Node rejects a headersTimeout that exceeds the requestTimeout.
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: Math.max(100, Math.min(5_000, limits.headersTimeoutMs / 2)),
    noDelay: true,
  });
  // Not needed: timeouts above bound reading, the call's deadline bounds processing, destroyStalledSockets bounds writing.
  server.timeout = 0;
  return server;
}

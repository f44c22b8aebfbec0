/** The transport of Node: HTTP/2, or `fetch` if the application asks for it or the server only speaks HTTP/1.1. */
import { ConnectError, type Transport } from "@connectrpc/connect";
import { createFetchTransport } from "./fetch-transport.js";
import { createHttp2Transport } from "./http2/transport.js";
import { NotHttp2Error } from "./transport-errors.js";
import type { TransportOptions } from "./transport-options.js";

export function createNodeTransport(options: TransportOptions): Transport {
  if (options.fetch !== undefined) return createFetchTransport(options);
  const http2 = createHttp2Transport(options);
  // Node's fetch takes no certificates.
  if (options.tls !== undefined) return http2;
  let current = http2;

  /** Whether the call may be repeated over `fetch`: a server without HTTP/2, such as some proxies, has not processed it. */
  function isForFetch(used: Transport, error: unknown): boolean {
    if (used !== http2 || !(error instanceof ConnectError) || !(error.cause instanceof NotHttp2Error))
      return false;
    if (current === http2) current = createFetchTransport(options);
    return true;
  }

  return {
    async unary(...call) {
      const used = current;
      try {
        return await used.unary(...call);
      } catch (error) {
        if (!isForFetch(used, error)) throw error;
        return await current.unary(...call);
      }
    },
    async stream(...call) {
      const used = current;
      try {
        return await used.stream(...call);
      } catch (error) {
        // The request's messages have been read: only the next call can use `fetch`. The error says that a retry helps.
        isForFetch(used, error);
        throw error;
      }
    },
  };
}

/** The transport of Node: HTTP/2, or `fetch` if the application asks for it or the server only speaks HTTP/1.1. */
import type { Transport } from "@connectrpc/connect";
import { createFetchTransport } from "./fetch-transport.js";
import { createHttp2Transport } from "./http2/transport.js";
import type { TransportOptions } from "./transport-options.js";

export function createNodeTransport(options: TransportOptions): Transport {
  if (options.fetch !== undefined) return createFetchTransport(options);
  // Node's fetch takes no certificates.
  if (options.tls !== undefined) return createHttp2Transport(options);
  let viaFetch: Transport | undefined;
  // A server without HTTP/2, such as some proxies, has not processed the call: repeat it, and make all later ones, over `fetch`.
  const http2 = createHttp2Transport(options, () => (viaFetch ??= createFetchTransport(options)));
  return {
    unary: (...call) => (viaFetch ?? http2).unary(...call),
    stream: (...call) => (viaFetch ?? http2).stream(...call),
  };
}

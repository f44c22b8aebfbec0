/** The transport of browsers, over `fetch`; in Node only where the application asks for it, or the server does not speak HTTP/2. */
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { cancelableFetch } from "./cancelable-fetch.js";
import { baseUrlOf, type TransportOptions } from "./transport-options.js";

export function createFetchTransport(options: TransportOptions): Transport {
  return createConnectTransport({
    baseUrl: baseUrlOf(options).href,
    useBinaryFormat: true,
    fetch: cancelableFetch(options.fetch ?? ((input, init) => globalThis.fetch(input, init))),
  });
}

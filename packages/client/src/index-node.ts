/**
 * The SDK of ironflow-kv, for Node.
 *
 * `createClient` creates a client, `client.kv()` manages buckets, and `kv.bucket(name)` accesses the keys of one. Revisions are bigint.
 * Every call accepts `signal` and `timeoutMs`, throws a {@link KvError} if it fails, and is retried unless that could apply a write twice.
 */
import type { Transport } from "@connectrpc/connect";
import { type Client, type ClientOptions, createClientOver } from "./client.js";
import { createNodeTransport } from "./node-transport.js";
import type { TransportOptions } from "./transport-options.js";

export * from "./exports.js";

/** Creates a client. Sends nothing. Throws TypeError or RangeError for malformed options. */
export function createClient(options: ClientOptions = {}): Client {
  return createClientOver(createNodeTransport, options);
}

/** Creates the SDK's transport alone, over HTTP/2: for any client that `@connectrpc/connect` creates from generated code. */
export function createTransport(options: TransportOptions = {}): Transport {
  return createNodeTransport(options);
}

/** Where the SDK begins: `createClient`. */
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { ApiKeys } from "./api-keys.js";
import { Caller, timeoutOf } from "./caller.js";
import { cancelableFetch } from "./cancelable-fetch.js";
import { KeyValue } from "./key-value.js";
import { type RetryOptions, retryPolicyOf } from "./retry.js";

const DEFAULT_SERVER_URL = "http://localhost:9123";
const DEFAULT_TIMEOUT_MS = 10_000;

export interface ClientOptions {
  /** Where the service is. In a browser, a path such as `/` means the page's own origin. Default: http://localhost:9123. */
  readonly serverUrl?: string | URL | undefined;
  /** The API key. Default: the environment's IRONFLOW_API_KEY, where there is one; empty or absent: none is sent. */
  readonly apiKey?: string | undefined;
  /** The time for a call with its retries, in milliseconds. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
  /** How calls are retried; `false`: not at all. Writes carry an idempotency key, so that none is applied twice. */
  readonly retry?: RetryOptions | false | undefined;
  /** Headers to send with every call. */
  readonly headers?: HeadersInit | undefined;
  /** What to use in place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Any Connect transport, such as gRPC by `@connectrpc/connect-node`; then `serverUrl` and `fetch` are not used. */
  readonly transport?: Transport | undefined;
}

/** A connection to the service. It holds nothing that must be closed. */
export interface Client {
  /** Buckets and their keys. */
  kv(): KeyValue;
  /** API keys. */
  apiKeys(): ApiKeys;
}

/** Makes a client. Sends nothing. Throws TypeError or RangeError for malformed options. */
export function createClient(options: ClientOptions = {}): Client {
  const headers = new Headers(options.headers);
  const apiKey = options.apiKey ?? environment("IRONFLOW_API_KEY") ?? "";
  if (apiKey !== "") headers.set("authorization", `Bearer ${checkApiKey(apiKey)}`);
  const caller = new Caller({
    transport: options.transport ?? fetchTransport(options),
    headers,
    timeoutMs: timeoutOf(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    retry: retryPolicyOf(options.retry),
  });
  const keyValue = new KeyValue(caller);
  const apiKeys = new ApiKeys(caller);
  return { kv: () => keyValue, apiKeys: () => apiKeys };
}

function fetchTransport(options: ClientOptions): Transport {
  const baseUrl = baseUrlOf(options.serverUrl ?? DEFAULT_SERVER_URL);
  return createConnectTransport({
    baseUrl,
    useBinaryFormat: true,
    fetch: cancelableFetch(options.fetch ?? ((input, init) => globalThis.fetch(input, init))),
  });
}

function baseUrlOf(serverUrl: string | URL): string {
  const { location } = globalThis as { location?: { href: string } };
  const text = String(serverUrl);
  const url = URL.canParse(text, location?.href) ? new URL(text, location?.href) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new TypeError(
      `serverUrl is ${JSON.stringify(text)}; it takes a URL such as ${DEFAULT_SERVER_URL}.`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new TypeError("serverUrl takes no user, password, query or fragment; give the API key as apiKey.");
  }
  return url.href;
}

/** The error must not show the key, which is why it is not left to Headers. */
function checkApiKey(apiKey: string): string {
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new TypeError("apiKey has spaces, control or non-ASCII characters; it takes visible ASCII only.");
  }
  return apiKey;
}

/** The SDK's one look at the environment; browsers have none. */
function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}

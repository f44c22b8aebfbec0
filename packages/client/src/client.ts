/** The SDK's entry point: `createClient`. */
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { ApiKeys } from "./api-keys.js";
import { RpcClient, timeoutOf } from "./rpc-client.js";
import { cancelableFetch } from "./cancelable-fetch.js";
import { KeyValue } from "./key-value.js";
import { type RetryOptions, retryPolicyOf } from "./retry.js";

const DEFAULT_SERVER_URL = "http://localhost:9123";
const DEFAULT_TIMEOUT_MS = 10_000;

export interface ClientOptions {
  /** The service's URL. In a browser, a path such as `/` is relative to the page's origin. Default: http://localhost:9123. */
  readonly serverUrl?: string | URL | undefined;
  /** The API key. Default: the environment variable IRONFLOW_API_KEY, if set. Empty: sends no key. */
  readonly apiKey?: string | undefined;
  /** The time limit of a call, including its retries, in milliseconds. Default: 10,000. The service ends an attempt after a minute. */
  readonly timeoutMs?: number | undefined;
  /** The retry policy; `false`: no retries. Writes carry an idempotency key, which keeps a retried write from being applied twice. */
  readonly retry?: RetryOptions | false | undefined;
  /** Headers to add to every call. */
  readonly headers?: HeadersInit | undefined;
  /** A replacement for the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Any Connect transport, such as gRPC from `@connectrpc/connect-node`. `serverUrl` and `fetch` are then ignored. */
  readonly transport?: Transport | undefined;
}

/** A client of the service. It needs no closing. */
export interface Client {
  /** Buckets and their keys. */
  kv(): KeyValue;
  /** API keys. */
  apiKeys(): ApiKeys;
}

/** Creates a client. Sends nothing. Throws TypeError or RangeError for malformed options. */
export function createClient(options: ClientOptions = {}): Client {
  const headers = new Headers(options.headers);
  const apiKey = options.apiKey ?? environment("IRONFLOW_API_KEY") ?? "";
  if (apiKey !== "") headers.set("authorization", `Bearer ${checkApiKey(apiKey)}`);
  const rpc = new RpcClient({
    transport: options.transport ?? fetchTransport(options),
    headers,
    timeoutMs: timeoutOf(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    retry: retryPolicyOf(options.retry),
  });
  const keyValue = new KeyValue(rpc);
  const apiKeys = new ApiKeys(rpc);
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
      `serverUrl is ${JSON.stringify(text)}; it must be a URL such as ${DEFAULT_SERVER_URL}.`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new TypeError(
      "serverUrl has a user, password, query or fragment; remove it, and pass the API key as apiKey.",
    );
  }
  return url.href;
}

/** Validates the key before `Headers` does, whose error would contain the key. */
function checkApiKey(apiKey: string): string {
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new TypeError("apiKey has spaces, control or non-ASCII characters; it must be visible ASCII.");
  }
  return apiKey;
}

/** Reads an environment variable; browsers have none. */
function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}

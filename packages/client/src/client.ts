/** The client, over the transport of its environment. */
import type { Transport } from "@connectrpc/connect";
import { ApiKeys } from "./api-keys.js";
import { Configs } from "./configs.js";
import { RpcClient, timeoutOf } from "./rpc-client.js";
import { KeyValue } from "./key-value.js";
import { type RetryOptions, retryPolicyOf } from "./retry.js";
import { checkOptions, type OptionNames } from "./options.js";
import { keepByteOrderMarks } from "./text-encoding.js";
import { TRANSPORT_OPTIONS, type TransportOptions } from "./transport-options.js";

const DEFAULT_TIMEOUT_MS = 10_000;

export interface ClientOptions extends TransportOptions {
  /** The API key. Default: the environment variable IRONFLOW_API_KEY, if set. Empty: sends no key. */
  readonly apiKey?: string | undefined;
  /**
   * The environment: a namespace of buckets, apart from the others. 1 to 32 letters, digits or `-`. Default: the environment variable
   * IRONFLOW_ENVIRONMENT, or `default`.
   */
  readonly environment?: string | undefined;
  /** The time limit of a call, including its retries, in milliseconds. Default: 10,000. The service ends an attempt after a minute. */
  readonly timeoutMs?: number | undefined;
  /** The retry policy; `false`: no retries. Writes carry an idempotency key, which keeps a retried write from being applied twice. */
  readonly retry?: RetryOptions | false | undefined;
  /** Headers to add to every call. */
  readonly headers?: HeadersInit | undefined;
  /** Any Connect transport, such as gRPC from `@connectrpc/connect-node`. The options of the SDK's own transport are then ignored. */
  readonly transport?: Transport | undefined;
}

const CLIENT_OPTIONS: OptionNames<ClientOptions> = {
  ...{
    ...TRANSPORT_OPTIONS,
    apiKey: true,
    environment: true,
    timeoutMs: true,
    retry: true,
    headers: true,
    transport: true,
  },
};

/** A client of the service. It needs no closing. */
export interface Client {
  /** Buckets and their keys. */
  kv(): KeyValue;
  /** API keys. */
  apiKeys(): ApiKeys;
  /** Configs: named JSON objects of the environment. */
  configs(): Configs;
}

/** Creates a client over `options.transport`, or else over the one that `createTransport` creates. */
export function createClientOver(
  createTransport: (options: TransportOptions) => Transport,
  options: ClientOptions,
): Client {
  checkOptions(options, CLIENT_OPTIONS, "createClient");
  keepByteOrderMarks();
  const headers = new Headers(options.headers);
  const apiKey = options.apiKey ?? environmentVariable("IRONFLOW_API_KEY") ?? "";
  if (apiKey !== "") headers.set("authorization", `Bearer ${checkApiKey(apiKey)}`);
  const environment = options.environment ?? environmentVariable("IRONFLOW_ENVIRONMENT") ?? "";
  if (environment !== "") headers.set("x-ironflow-environment", checkEnvironment(environment));
  const rpc = new RpcClient({
    transport: options.transport ?? createTransport(options),
    headers: Object.fromEntries(headers),
    timeoutMs: timeoutOf(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    retry: retryPolicyOf(options.retry),
  });
  const keyValue = new KeyValue(rpc);
  const apiKeys = new ApiKeys(rpc);
  const configs = new Configs(rpc);
  return { kv: () => keyValue, apiKeys: () => apiKeys, configs: () => configs };
}

/** Validates the key before `Headers` does, whose error would contain the key. */
function checkApiKey(apiKey: string): string {
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new TypeError("apiKey has spaces, control or non-ASCII characters; it must be visible ASCII.");
  }
  return apiKey;
}

function checkEnvironment(environment: string): string {
  if (!/^[A-Za-z0-9-]{1,32}$/.test(environment)) {
    throw new TypeError(
      `environment is ${JSON.stringify(environment)}; it must be 1 to 32 letters, digits or '-'.`,
    );
  }
  return environment;
}

/** Reads an environment variable; browsers have none. */
function environmentVariable(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}

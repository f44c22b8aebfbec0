/**
 * Probes and discovery, which need no API key and reveal no details: /healthz and /readyz in plain text, and /health, /ready and
 * /api/v1/capabilities in the JSON that Ironflow's SDKs read.
 */
import type { Health } from "../service/health.js";
import type { Exchange } from "./exchange.js";
import { sendRefusal, Refusal } from "./rest/errors.js";
import { send } from "./send.js";

export interface DiscoveryOptions {
  readonly health: Health;
  /** Of the service. */
  readonly version: string;
  /** Whether calls need no API key at the moment. */
  readonly needsNoKey: () => boolean;
}

type Answer = readonly [status: number, body: string | Readonly<Record<string, unknown>>];
type Discover = (options: DiscoveryOptions) => Answer | Promise<Answer>;

const TRANSPORTS = ["grpc", "grpc-web", "connect", "rest", "websocket", "sse"];
const FEATURES = [
  ...["kv", "config", "environments", "api-keys", "batch-get", "scan", "commit", "delete-keys"],
  ...["entry-ttl", "touch", "metadata", "commit-revision", "every-change"],
];

const DISCOVERIES: Readonly<Record<string, Discover>> = {
  "/healthz": () => [200, "ok\n"],
  "/readyz": async ({ health }) => {
    const problem = await problemOf(health);
    return problem === undefined ? [200, "ready\n"] : [503, `${problem}\n`];
  },
  "/health": ({ version }) => [200, { status: "ok", timestamp: new Date().toISOString(), version }],
  "/ready": async ({ health }) => {
    const problem = await problemOf(health);
    return problem === undefined
      ? [200, { status: "ready" }]
      : [503, { status: "not_ready", issues: { service: problem } }];
  },
  "/api/v1/capabilities": ({ version, needsNoKey }) => [
    200,
    { transports: TRANSPORTS, features: FEATURES, version, auth_required: !needsNoKey() },
  ],
};

/** Whether {@link answerDiscovery} answers this path. */
export function isDiscovery(path: string): boolean {
  return Object.hasOwn(DISCOVERIES, path);
}

/** Answers a GET or HEAD of a path for which {@link isDiscovery} is true. */
export async function answerDiscovery(
  path: string,
  exchange: Exchange,
  options: DiscoveryOptions,
): Promise<void> {
  const { method } = exchange;
  if (method !== "GET" && method !== "HEAD") {
    const sentence = `${method} is not allowed at ${path}; it allows GET and HEAD.`;
    sendRefusal(exchange, new Refusal(405, "method_not_allowed", sentence, { allow: "GET, HEAD" }));
    return;
  }
  const [status, body] = (await DISCOVERIES[path]?.(options)) ?? [404, ""];
  const isText = typeof body === "string";
  send(exchange, {
    status,
    headers: {
      "content-type": isText ? "text/plain; charset=utf-8" : "application/json",
      "cache-control": "no-store",
    },
    body: isText ? body : JSON.stringify(body),
  });
}

/** Why the service is not ready; undefined if it is. */
async function problemOf(health: Health): Promise<string | undefined> {
  if (await health.isServing()) return undefined;
  if (health.isStopping) return "stopping";
  return health.hasStorageFailed() ? "storage failed: waiting for its disk" : "storage unavailable";
}

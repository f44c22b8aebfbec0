/** The settings other than limits, by field of `Config`: names, defaults and descriptions. */
import { availableParallelism } from "node:os";
import { parseCertificateRules } from "../auth/certificates.js";
import { enumParser, parseBoolean, parseCount, type Setting } from "./setting.js";

const text = (value: string): string => value;

/** In the order in which they are documented. */
export const SERVICE_SETTINGS = {
  port: {
    env: "PORT",
    value: "number",
    default: "9123",
    doc: "The port to listen on. 0: any free port.",
    parse: (value) => parseCount(value, 0, 65_535),
  },
  host: {
    env: "HOST",
    value: "address",
    default: "127.0.0.1",
    doc: "The address to listen on.",
    parse: text,
  },
  dataDir: {
    env: "DATA_DIR",
    value: "path",
    default: "./data",
    doc: "The directory for the files of the embedded nats-server. Only one service can use it at a time.",
    parse: text,
  },
  natsUrl: {
    env: "NATS_URL",
    value: "url",
    doc: "The NATS server or cluster to use instead of the embedded one (2.15.1 or newer with JetStream; 2.14 works with a warning). Comma-separated nats:// or tls:// URLs, with user:password@ or token@ before the host.",
    secret: true,
    parse: text,
  },
  natsCreds: {
    env: "NATS_CREDS",
    value: "path",
    doc: "A NATS credentials file for NATS_URL.",
    parse: text,
  },
  natsServerBin: {
    env: "NATS_SERVER_BIN",
    value: "path",
    doc: "The nats-server program to run as the embedded server, 2.15.1 or newer (2.14 works with a warning). Default: the one that `npm ci` installed, then the one on PATH.",
    parse: text,
  },
  replicas: {
    env: "REPLICAS",
    value: "number",
    default: "1",
    doc: "The number of replicas that a NATS cluster keeps of each new bucket: 1, 3 or 5.",
    parse: (value) => parseCount(value, 1, 5),
  },
  durability: {
    env: "DURABILITY",
    value: "mode",
    default: "safe",
    doc: "safe: the embedded server has a write on disk before it is acknowledged. relaxed: faster, but a power failure may lose the last acknowledged writes.",
    parse: enumParser("safe", "relaxed"),
  },
  groupCommit: {
    env: "GROUP_COMMIT",
    value: "on|off",
    default: "on",
    doc: "on: writes to a bucket that wait while others are in flight are committed together, with one sync. off: each write is synced alone.",
    parse: enumParser("on", "off"),
  },
  batchStagingDir: {
    env: "BATCH_STAGING_DIR",
    value: "path",
    doc: "A directory in memory, in which the embedded nats-server stages the batches of GROUP_COMMIT: it takes up to 16 MiB, and is used while 32 MiB are free. off: they are staged on disk, which is slower. Default: /dev/shm on Linux, off elsewhere.",
    parse: text,
  },
  logLevel: {
    env: "LOG_LEVEL",
    value: "level",
    default: "info",
    doc: "trace, debug, info, warn, error or silent.",
    parse: enumParser("trace", "debug", "info", "warn", "error", "silent"),
  },
  apiKey: {
    env: "IRONFLOW_API_KEY",
    value: "key",
    doc: "The first API key, which has full access. Every call must send it, or a key created with it, as 'Authorization: Bearer <key>'. At least 16 characters. Default: none; no call needs a key until one is created.",
    secret: true,
    parse: parseApiKey,
  },
  allowAnonymous: {
    env: "ALLOW_ANONYMOUS",
    value: "boolean",
    default: "false",
    doc: "Allow listening beyond loopback without an API key.",
    parse: parseBoolean,
  },
  allowedOrigins: {
    env: "ALLOWED_ORIGINS",
    value: "list",
    doc: "The web origins that may call the service from a browser, comma-separated and matched exactly; * allows all. Default: the service's own origin and pages of localhost.",
    parse: parseOrigins,
  },
  tlsCert: {
    env: "TLS_CERT",
    value: "path",
    doc: "The path of a PEM certificate chain. The port then speaks TLS. Needs TLS_KEY.",
    parse: text,
  },
  tlsKey: {
    env: "TLS_KEY",
    value: "path",
    doc: "The path of the PEM private key for TLS_CERT. The service reloads these files when they change.",
    parse: text,
  },
  tlsClientCa: {
    env: "TLS_CLIENT_CA",
    value: "path",
    doc: "The path of the PEM certificates of the authorities that sign client certificates. The service then requests a certificate from clients.",
    parse: text,
  },
  tlsClientAuth: {
    env: "TLS_CLIENT_AUTH",
    value: "mode",
    default: "required",
    doc: "required: clients without a certificate signed by TLS_CLIENT_CA are refused. optional: they need an API key.",
    parse: enumParser("required", "optional"),
  },
  tlsClientScopes: {
    env: "TLS_CLIENT_SCOPES",
    value: "rules",
    doc: "What clients with a certificate may do without a key, by common name: entries such as `orders-*=read,write:orders-*`, separated by semicolons. All entries that match apply. Access: read, write, watch and admin.",
    parse: parseCertificateRules,
  },
  workers: {
    env: "WORKERS",
    value: "number",
    default: "1",
    doc: "The number of processes that share the port and the NATS server, 1 to 64; auto: one for each core. A worker that dies is replaced. Limits on connections, watches and calls are divided among the workers.",
    parse: (value) => (value === "auto" ? Math.min(64, availableParallelism()) : parseCount(value, 1, 64)),
  },
  fastPath: {
    env: "FAST_PATH",
    value: "boolean",
    default: "true",
    doc: "true: simple unary and server-streaming calls take the fast path. false: all calls go through the stock Connect adapter.",
    parse: parseBoolean,
  },
  http2: {
    env: "HTTP2",
    value: "stack",
    default: "own",
    doc: "own: the service's own HTTP/2 server. node: Node's, which needs more CPU and has fewer limits; use it if you suspect a fault in the service's own.",
    parse: enumParser("own", "node"),
  },
  reflection: {
    env: "REFLECTION",
    value: "boolean",
    default: "true",
    doc: "Serve gRPC server reflection, which grpcurl and buf curl use to read the contract.",
    parse: parseBoolean,
  },
  metricsPort: {
    env: "METRICS_PORT",
    value: "number",
    doc: "Serve GET /metrics on this port too, without a key. 0: any free port. Default: on PORT only, for keys with admin on all buckets.",
    parse: (value) => parseCount(value, 0, 65_535),
  },
  metricsHost: {
    env: "METRICS_HOST",
    value: "address",
    default: "127.0.0.1",
    doc: "The address to listen on for METRICS_PORT.",
    parse: text,
  },
  metricsPerBucket: {
    env: "METRICS_PER_BUCKET",
    value: "boolean",
    default: "false",
    doc: "Report the size of each bucket in the metrics, in addition to the total: two series per bucket.",
    parse: parseBoolean,
  },
} satisfies Readonly<Record<string, Setting>>;

function parseApiKey(value: string): string {
  if (!/^[\x21-\x7e]{16,256}$/.test(value))
    throw new Error("must be 16 to 256 printable ASCII characters without spaces.");
  return value;
}

function parseOrigins(value: string): readonly string[] | "*" {
  if (value === "*") return "*";
  return value.split(",").map((part) => {
    const origin = part.trim();
    if (!/^https?:\/\/[^/\s]+$/.test(origin))
      throw new Error("it must be origins such as https://app.example.com, or *.");
    return origin;
  });
}

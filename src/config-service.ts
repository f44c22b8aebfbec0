/** The settings other than limits: names, defaults and descriptions. */
import { availableParallelism } from "node:os";
import { parseCertificateRules } from "./auth/certificates.js";
import { parseBoolean, parseCount, parseEnum, type Setting } from "./config-settings.js";

const text = (value: string): string => value;

/** In the order in which they are documented. */
export const SETTINGS: readonly Setting[] = [
  {
    env: "PORT",
    field: "port",
    value: "number",
    default: "9123",
    doc: "The port to listen on. 0: any free port.",
    parse: (value) => parseCount(value, 0, 65_535),
  },
  {
    env: "HOST",
    field: "host",
    value: "address",
    default: "127.0.0.1",
    doc: "The address to listen on.",
    parse: text,
  },
  {
    env: "DATA_DIR",
    field: "dataDir",
    value: "path",
    default: "./data",
    doc: "The directory for the files of the embedded nats-server. Only one service can use it at a time.",
    parse: text,
  },
  {
    env: "NATS_URL",
    field: "natsUrl",
    value: "url",
    doc: "The NATS server or cluster to use instead of the embedded one (2.15.1 or newer with JetStream; 2.14 works with a warning). Comma-separated nats:// or tls:// URLs, with user:password@ or token@ before the host.",
    secret: true,
    parse: text,
  },
  {
    env: "NATS_CREDS",
    field: "natsCreds",
    value: "path",
    doc: "A NATS credentials file for NATS_URL.",
    parse: text,
  },
  {
    env: "NATS_SERVER_BIN",
    field: "natsServerBin",
    value: "path",
    doc: "The nats-server program to run as the embedded server, 2.15.1 or newer (2.14 works with a warning). Default: the one that `npm ci` installed, then the one on PATH.",
    parse: text,
  },
  {
    env: "REPLICAS",
    field: "replicas",
    value: "number",
    default: "1",
    doc: "The number of replicas that a NATS cluster keeps of each new bucket: 1, 3 or 5.",
    parse: (value) => parseCount(value, 1, 5),
  },
  {
    env: "DURABILITY",
    field: "durability",
    value: "mode",
    default: "safe",
    doc: "safe: the embedded server has a write on disk before it is acknowledged. relaxed: faster, but a power failure may lose the last acknowledged writes.",
    parse: (value) => parseEnum(value, ["safe", "relaxed"]),
  },
  {
    env: "LOG_LEVEL",
    field: "logLevel",
    value: "level",
    default: "info",
    doc: "trace, debug, info, warn, error or silent.",
    parse: (value) => parseEnum(value, ["trace", "debug", "info", "warn", "error", "silent"]),
  },
  {
    env: "IRONFLOW_API_KEY",
    field: "apiKey",
    value: "key",
    doc: "The first API key, which has full access. Every call must send it, or a key created with it, as 'Authorization: Bearer <key>'. At least 16 characters. Default: none; no call needs a key until one is created.",
    secret: true,
    parse: parseApiKey,
  },
  {
    env: "ALLOW_ANONYMOUS",
    field: "allowAnonymous",
    value: "boolean",
    default: "false",
    doc: "Allow listening beyond loopback without an API key.",
    parse: parseBoolean,
  },
  {
    env: "ALLOWED_ORIGINS",
    field: "allowedOrigins",
    value: "list",
    doc: "The web origins that may call the service from a browser, comma-separated and matched exactly; * allows all. Default: the service's own origin and pages of localhost.",
    parse: parseOrigins,
  },
  {
    env: "TLS_CERT",
    field: "tlsCert",
    value: "path",
    doc: "The path of a PEM certificate chain. The port then speaks TLS. Needs TLS_KEY.",
    parse: text,
  },
  {
    env: "TLS_KEY",
    field: "tlsKey",
    value: "path",
    doc: "The path of the PEM private key for TLS_CERT. The service reloads these files when they change.",
    parse: text,
  },
  {
    env: "TLS_CLIENT_CA",
    field: "tlsClientCa",
    value: "path",
    doc: "The path of the PEM certificates of the authorities that sign client certificates. The service then requests a certificate from clients.",
    parse: text,
  },
  {
    env: "TLS_CLIENT_AUTH",
    field: "tlsClientAuth",
    value: "mode",
    default: "required",
    doc: "required: clients without a certificate signed by TLS_CLIENT_CA are refused. optional: they need an API key.",
    parse: (value) => parseEnum(value, ["required", "optional"]),
  },
  {
    env: "TLS_CLIENT_SCOPES",
    field: "tlsClientScopes",
    value: "rules",
    doc: "What clients with a certificate may do without a key, by common name: entries such as `orders-*=read,write:orders-*`, separated by semicolons. All entries that match apply. Access: read, write, watch and admin.",
    parse: parseCertificateRules,
  },
  {
    env: "WORKERS",
    field: "workers",
    value: "number",
    default: "1",
    doc: "The number of processes that share the port and the NATS server, 1 to 64; auto: one for each core. A worker that dies is replaced. Limits on connections, watches and calls are divided among the workers.",
    parse: (value) => (value === "auto" ? Math.min(64, availableParallelism()) : parseCount(value, 1, 64)),
  },
  {
    env: "FAST_PATH",
    field: "fastPath",
    value: "boolean",
    default: "true",
    doc: "true: simple unary and server-streaming calls take the fast path. false: all calls go through the stock Connect adapter.",
    parse: parseBoolean,
  },
  {
    env: "REFLECTION",
    field: "reflection",
    value: "boolean",
    default: "true",
    doc: "Serve gRPC server reflection, which grpcurl and buf curl use to read the contract.",
    parse: parseBoolean,
  },
  {
    env: "METRICS_PORT",
    field: "metricsPort",
    value: "number",
    doc: "Serve GET /metrics on this port too, without a key. 0: any free port. Default: on PORT only, for keys with admin on all buckets.",
    parse: (value) => parseCount(value, 0, 65_535),
  },
  {
    env: "METRICS_HOST",
    field: "metricsHost",
    value: "address",
    default: "127.0.0.1",
    doc: "The address to listen on for METRICS_PORT.",
    parse: text,
  },
  {
    env: "METRICS_PER_BUCKET",
    field: "metricsPerBucket",
    value: "boolean",
    default: "false",
    doc: "Report the size of each bucket in the metrics, in addition to the total: two series per bucket.",
    parse: parseBoolean,
  },
];

function parseApiKey(value: string): string {
  if (!/^[\x21-\x7e]{16,256}$/.test(value))
    throw new Error("takes 16 to 256 printable ASCII characters without spaces.");
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

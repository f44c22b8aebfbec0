/** The settings besides the limits: what each is called, what it is when it is not set, what it is for. */
import { availableParallelism } from "node:os";
import { parseCertificateRules } from "./auth/certificates.js";
import { parseBoolean, parseCount, parseEnum, type Setting } from "./config-settings.js";

const text = (value: string): string => value;

/** In the order of the documentation. */
export const SETTINGS: readonly Setting[] = [
  {
    env: "PORT",
    field: "port",
    value: "number",
    default: "9123",
    doc: "The port to listen on; 0 takes a free one.",
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
    doc: "Where the embedded nats-server keeps its files. One service owns it at a time.",
    parse: text,
  },
  {
    env: "NATS_URL",
    field: "natsUrl",
    value: "url",
    doc: "Use this NATS server or cluster (2.15.1 or newer with JetStream; 2.14 works with a warning) instead of the embedded one: nats:// or tls://, comma-separated; user:password@ or token@ before the host.",
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
    doc: "The nats-server program to embed, 2.15.1 or newer (2.14 works with a warning). Default: the one that `npm ci` installed, then the one on PATH.",
    parse: text,
  },
  {
    env: "REPLICAS",
    field: "replicas",
    value: "number",
    default: "1",
    doc: "Copies that a NATS cluster keeps of each new bucket: 1, 3 or 5.",
    parse: (value) => parseCount(value, 1, 5),
  },
  {
    env: "DURABILITY",
    field: "durability",
    value: "mode",
    default: "safe",
    doc: "safe: the embedded server has a write on disk before it is acknowledged. relaxed: faster; a power failure may lose the last acknowledged writes.",
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
    doc: "The first API key, which may do everything: every call must bring it, or a key made with it, as 'Authorization: Bearer <key>'. At least 16 characters. Default: none; no call needs a key until one is made.",
    secret: true,
    parse: parseApiKey,
  },
  {
    env: "ALLOW_ANONYMOUS",
    field: "allowAnonymous",
    value: "boolean",
    default: "false",
    doc: "Listen beyond loopback although no API key is set.",
    parse: parseBoolean,
  },
  {
    env: "ALLOWED_ORIGINS",
    field: "allowedOrigins",
    value: "list",
    doc: "Web origins that may call from a browser, exactly, comma-separated; * for all. Default: the service's own, and pages of localhost.",
    parse: parseOrigins,
  },
  {
    env: "TLS_CERT",
    field: "tlsCert",
    value: "path",
    doc: "A PEM certificate chain: the port speaks TLS. Needs TLS_KEY.",
    parse: text,
  },
  {
    env: "TLS_KEY",
    field: "tlsKey",
    value: "path",
    doc: "The PEM private key of TLS_CERT. These files are read again when they change.",
    parse: text,
  },
  {
    env: "TLS_CLIENT_CA",
    field: "tlsClientCa",
    value: "path",
    doc: "The PEM certificates of who signs the certificates of clients: clients are asked for one.",
    parse: text,
  },
  {
    env: "TLS_CLIENT_AUTH",
    field: "tlsClientAuth",
    value: "mode",
    default: "required",
    doc: "required: who shows no certificate of TLS_CLIENT_CA is not let in. optional: they need an API key.",
    parse: (value) => parseEnum(value, ["required", "optional"]),
  },
  {
    env: "TLS_CLIENT_SCOPES",
    field: "tlsClientScopes",
    value: "rules",
    doc: "What the holders of certificates may do without a key, by the common name: entries such as `orders-*=read,write:orders-*`, with a semicolon between them; all that match count. Of read, write, watch and admin.",
    parse: parseCertificateRules,
  },
  {
    env: "WORKERS",
    field: "workers",
    value: "number",
    default: "1",
    doc: "Processes that share the port and the NATS server, 1 to 64; auto: one for each core. A worker that dies is replaced. Limits on connections, watches and calls are divided among them.",
    parse: (value) => (value === "auto" ? Math.min(64, availableParallelism()) : parseCount(value, 1, 64)),
  },
  {
    env: "FAST_PATH",
    field: "fastPath",
    value: "boolean",
    default: "true",
    doc: "Answer plain unary and server-streaming calls on the fast path; false sends all through the stock Connect adapter.",
    parse: parseBoolean,
  },
  {
    env: "REFLECTION",
    field: "reflection",
    value: "boolean",
    default: "true",
    doc: "Let clients ask for the contract's descriptors (gRPC server reflection), as grpcurl and buf curl do.",
    parse: parseBoolean,
  },
  {
    env: "METRICS_PORT",
    field: "metricsPort",
    value: "number",
    doc: "Serve GET /metrics on this port too, without a key; 0 takes a free one. Default: on PORT only, to keys with admin on all buckets.",
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
    doc: "Show the size of each bucket in the metrics, not only of all together: two series a bucket.",
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
      throw new Error("it takes origins such as https://app.example.com, or *.");
    return origin;
  });
}

/** Parses NATS_URL: a comma-separated list of servers, with optional credentials. */
import { StartError } from "./start-error.js";

/** The parsed NATS_URL. */
export interface ServerUrls {
  /** `host:port`, without credentials: safe to show. */
  readonly servers: readonly string[];
  /** Whether any URL requires TLS. */
  readonly tls: boolean;
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
}

const DEFAULT_PORT = 4222;
const SCHEMES = ["nats:", "tls:"];

/**
 * Parses `nats://a:4222,nats://b:4222`, `nats://user:password@host`, `nats://token@host`, `tls://host` or `host:port`. Credentials apply
 * to all servers of the list; different ones are refused. Throws StartError, whose message never contains credentials.
 */
export function parseServerUrls(text: string): ServerUrls {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.length === 0)
    throw new StartError("NATS_URL has no server; set one such as nats://127.0.0.1:4222.");
  const urls = parts.map(parseOne);
  const [credentials, ...others] = distinct(urls.flatMap((url) => url.credentials ?? []));
  if (others.length > 0) {
    throw new StartError(
      "NATS_URL has different credentials for different servers; use the same for all of them.",
    );
  }
  return {
    servers: urls.map((url) => url.server),
    tls: urls.some((url) => url.tls),
    ...credentials,
  };
}

interface Credentials {
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
}

interface OneUrl {
  readonly server: string;
  readonly tls: boolean;
  readonly credentials: Credentials | undefined;
}

function parseOne(part: string, index: number): OneUrl {
  let url: URL;
  try {
    url = new URL(part.includes("://") ? part : `nats://${part}`);
  } catch {
    throw new StartError(
      `Server ${index + 1} in NATS_URL is malformed; it must be a URL such as nats://host:4222.`,
    );
  }
  if (!SCHEMES.includes(url.protocol)) {
    throw new StartError(`NATS_URL has the scheme ${url.protocol}//; it must be nats:// or tls://.`);
  }
  if (url.hostname === "" || (url.pathname !== "" && url.pathname !== "/")) {
    throw new StartError(
      `Server ${index + 1} in NATS_URL is malformed; it must be a URL such as nats://host:4222.`,
    );
  }
  return {
    server: `${url.hostname}:${url.port === "" ? DEFAULT_PORT : url.port}`,
    tls: url.protocol === "tls:",
    credentials: credentialsOf(url),
  };
}

function credentialsOf(url: URL): Credentials | undefined {
  if (url.username === "") return undefined;
  const name = decode(url.username);
  return url.password === "" ? { token: name } : { user: name, pass: decode(url.password) };
}

/** Decodes percent-encoding; returns text with a stray `%` unchanged. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function distinct(credentials: readonly Credentials[]): readonly Credentials[] {
  return [...new Map(credentials.map((one) => [JSON.stringify(one), one])).values()];
}

/** CORS (https://fetch.spec.whatwg.org/#http-cors-protocol) for every protocol: which web pages may call and read responses. */
import { cors as connect } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import type { Exchange, Fields } from "./exchange.js";
import { isMetadataHeader } from "./rest/entry-fields.js";
import { isLoopbackOrigin } from "./loopback.js";

export interface CorsOptions {
  /**
   * Origins such as https://app.example.com; `*` allows all. Never with credentials: the service uses no cookies. Undefined: loopback
   * origins.
   */
  readonly allowedOrigins: readonly string[] | "*" | undefined;
}

export interface Cors {
  /**
   * Adds the CORS headers to the exchange's common fields. Answers a preflight and returns true. Call it before anything else is written.
   * Ignores requests without `Origin`.
   */
  apply(exchange: Exchange): boolean;
  /** The response headers for a request, for handlers that write their own. Undefined: none. */
  headersFor(headers: IncomingHttpHeaders): Fields | undefined;
  /** The headers of the 204 that answers a preflight; undefined if the request is not a preflight. */
  preflightHeaders(method: string | undefined, headers: IncomingHttpHeaders): Fields | undefined;
  /** Whether this origin may make cross-origin calls. True without an origin. */
  allows(origin: string | undefined): boolean;
  /**
   * Whether to reject a request by its origin: neither allowed nor the service's own origin (the console). Missing CORS headers alone only
   * hide the response: a write would still be applied, and browsers do not apply CORS to WebSockets.
   */
  refuses(origin: string | undefined, authority: string | undefined): boolean;
}

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/** The library's list for its protocols, and our own. */
const REQUEST_HEADERS = [
  ...connect.allowedHeaders,
  "Authorization",
  "Accept",
  "If-Match",
  "If-None-Match",
  "Idempotency-Key",
  "Ironflow-Seen-Revision",
  "Ironflow-First-Attempt-Age-Ms",
  "Ironflow-First-Attempt-Time-Ms",
  "Grpc-Previous-Rpc-Attempts",
  "Last-Event-ID",
  "X-Ironflow-Environment",
  "X-Ironflow-SDK",
  "X-Request-Id",
  "Traceparent",
  "Tracestate",
  "Ttl",
].join(", ");
const RESPONSE_HEADERS = [
  ...connect.exposedHeaders,
  "ETag",
  "Location",
  "Ironflow-Idempotency-Window-Ms",
  "Ironflow-Storage-Time-Ms",
  "Retry-After",
  "WWW-Authenticate",
  "X-Request-Id",
  "X-Kv-Expires-At",
  // The names of metadata headers are free. No response allows credentials, so this means every header.
  "*",
].join(", ");
/** Two hours: Chromium's maximum. */
/** The most header names of a preflight that are read. */
const REQUESTED_HEADERS_MAX = 128;
const MAX_AGE_SECONDS = "7200";

export function createCors(options: CorsOptions): Cors {
  const { allowedOrigins } = options;
  const origins = allowedOrigins === "*" ? "*" : new Set(allowedOrigins);
  const allows = (origin: string | undefined): boolean => {
    if (origin === undefined || origins === "*" || origins.has(origin)) return true;
    return allowedOrigins === undefined && isLoopbackOrigin(origin);
  };

  const headersFor = (headers: IncomingHttpHeaders): Fields | undefined => {
    const { origin } = headers;
    // With a list, responses vary by origin, also for origins not on it and for requests without one.
    const vary: Fields | undefined = origins === "*" ? undefined : { vary: "Origin" };
    if (origin === undefined || !allows(origin)) return vary;
    return {
      ...vary,
      "access-control-allow-origin": origins === "*" ? "*" : origin,
      "access-control-expose-headers": RESPONSE_HEADERS,
    };
  };

  const preflightHeaders: Cors["preflightHeaders"] = (method, headers) => {
    if (method !== "OPTIONS" || headers.origin === undefined) return undefined;
    if (headers["access-control-request-method"] === undefined) return undefined;
    if (!allows(headers.origin)) return { vary: "Origin" };
    return {
      ...headersFor(headers),
      "access-control-allow-methods": METHODS,
      "access-control-allow-headers": REQUEST_HEADERS + requestedMetadata(headers),
      "access-control-max-age": MAX_AGE_SECONDS,
    };
  };

  /** The requested metadata headers. They must be named: a wildcard would not include Authorization. */
  const requestedMetadata = (headers: IncomingHttpHeaders): string => {
    const requested = headers["access-control-request-headers"] ?? "";
    const names = requested
      .toLowerCase()
      .split(",", REQUESTED_HEADERS_MAX)
      .map((name) => name.trim());
    return names
      .filter(isMetadataHeader)
      .map((name) => `, ${name}`)
      .join("");
  };

  return {
    allows,
    refuses: (origin, authority = "") =>
      !allows(origin) && origin !== `http://${authority}` && origin !== `https://${authority}`,
    headersFor,
    preflightHeaders,
    apply(exchange) {
      const preflight = preflightHeaders(exchange.method, exchange.headers);
      const fields = preflight ?? headersFor(exchange.headers);
      for (const name in fields) exchange.commonFields[name] = fields[name] ?? "";
      if (preflight === undefined) return false;
      exchange.respond(204, exchange.commonFields);
      return true;
    },
  };
}

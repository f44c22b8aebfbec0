/** Which web pages may call, and read the answers (CORS: https://fetch.spec.whatwg.org/#http-cors-protocol). For every door. */
import { cors as connect } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import { isLoopbackOrigin } from "./loopback.js";

/** Headers by lower-case name. */
type HeaderFields = Record<string, string>;

export interface CorsOptions {
  /**
   * Origins such as https://app.example.com; `*` lets every page call. Never with credentials: the service knows no cookies.
   * Undefined: the pages that this machine serves.
   */
  readonly allowedOrigins: readonly string[] | "*" | undefined;
}

/** The parts of a request and response that CORS needs; those of HTTP/1.1 and of the HTTP/2 compatibility layer have them. */
interface CorsRequest {
  readonly method?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}
interface CorsResponse {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number): unknown;
  end(): unknown;
}

export interface Cors {
  /**
   * Sets the response's CORS headers; answers a preflight itself and returns true then. Call it before anything else is written. A
   * request without `Origin` is no browser's and is left alone.
   */
  apply(request: CorsRequest, response: CorsResponse): boolean;
  /** The headers for an answer to a request, for doors that write their own; undefined: none. */
  headersFor(headers: IncomingHttpHeaders): HeaderFields | undefined;
  /** The headers of the 204 that answers a preflight; undefined when the request is none. */
  preflightHeaders(method: string | undefined, headers: IncomingHttpHeaders): HeaderFields | undefined;
  /** Whether pages of this origin may call from elsewhere; true without one. */
  allows(origin: string | undefined): boolean;
  /**
   * Whether a request comes from a page that may not call: of an origin that is not allowed, nor the service's own, such as the
   * dashboard's. Without CORS headers the page could not read the answer, but a change would have been made all the same; and browsers
   * don't guard WebSockets by CORS at all.
   */
  refuses(origin: string | undefined, authority: string | undefined): boolean;
}

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/** Those of the protocols, as their library lists them, and ours. */
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
  "X-Request-Id",
  "Traceparent",
  "Tracestate",
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
].join(", ");
/** Two hours: the most that Chromium keeps a preflight for. */
const MAX_AGE_SECONDS = "7200";

export function createCors(options: CorsOptions): Cors {
  const { allowedOrigins } = options;
  const origins = allowedOrigins === "*" ? "*" : new Set(allowedOrigins);
  const allows = (origin: string | undefined): boolean => {
    if (origin === undefined || origins === "*" || origins.has(origin)) return true;
    return allowedOrigins === undefined && isLoopbackOrigin(origin);
  };

  const headersFor = (headers: IncomingHttpHeaders): HeaderFields | undefined => {
    const { origin } = headers;
    // With a list, an answer differs by origin also for those who are not on it, and for no origin.
    const vary: HeaderFields | undefined = origins === "*" ? undefined : { vary: "Origin" };
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
      "access-control-allow-headers": REQUEST_HEADERS,
      "access-control-max-age": MAX_AGE_SECONDS,
    };
  };

  return {
    allows,
    refuses: (origin, authority = "") =>
      !allows(origin) && origin !== `http://${authority}` && origin !== `https://${authority}`,
    headersFor,
    preflightHeaders,
    apply(request, response) {
      const preflight = preflightHeaders(request.method, request.headers);
      const fields = preflight ?? headersFor(request.headers);
      if (fields !== undefined) {
        for (const name in fields) response.setHeader(name, fields[name] ?? "");
      }
      if (preflight === undefined) return false;
      response.writeHead(204);
      response.end();
      return true;
    },
  };
}

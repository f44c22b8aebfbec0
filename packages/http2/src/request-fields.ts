/** Validates the fields of requests: RFC 9113 sections 8.2, 8.3 and 8.5. */
import type { IncomingHttpHeaders } from "node:http";
import { ErrorCode } from "./codes.js";
import { Http2Error } from "./errors.js";

/** A token (RFC 9110 section 5.6.2) in lower case. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Control characters other than tab, or white space at either end. */
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]|^[\t ]|[\t ]$/;
const PATH = /^(?:\/[\x21-\x7e\x80-\xff]*|\*)$/;
const AUTHORITY = /^[!$%&'()*+,\-.0-9:;=@A-Z[\]_a-z~]*$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/;
const DIGITS = /^[0-9]{1,15}$/;

/** Connection-specific fields of HTTP/1.1: HTTP/2 must not carry them (RFC 9113 section 8.2.2). */
export const OF_CONNECTIONS: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
/** Fields of which Node keeps the first and drops the rest, over HTTP/1.1 as well. */
const SINGLE = new Set([
  "age",
  "authorization",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-md5",
  "content-range",
  "content-type",
  "date",
  "dnt",
  "etag",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "location",
  "max-forwards",
  "proxy-authorization",
  "range",
  "referer",
  "retry-after",
  "tk",
  "upgrade-insecure-requests",
  "user-agent",
  "x-content-type-options",
]);

const PSEUDO: Readonly<Record<string, RegExp>> = {
  ":method": METHOD,
  ":scheme": SCHEME,
  ":path": PATH,
  ":authority": AUTHORITY,
};

type HeaderFields = Record<string, string | string[] | undefined>;

const NO_NAMES: object = Object.freeze(Object.create(null) as object);

/**
 * An object without any names, inherited ones included. Not with the prototype null: V8 keeps such an object as a hash table, which takes
 * ten times as long to copy.
 */
export function noFields(): HeaderFields {
  return Object.create(NO_NAMES) as HeaderFields;
}

/** Returns the header fields of a request as Node presents them. Throws a stream error if the request is malformed. */
export function requestHeaders(fields: readonly string[], streamId: number): IncomingHttpHeaders {
  const headers = headersOf(fields, PSEUDO, streamId);
  const isConnect = headers[":method"] === "CONNECT";
  const { ":method": method, ":path": path } = headers;
  // Handlers decide whether they support CONNECT (RFC 9113 section 8.5).
  const isComplete = isConnect
    ? path === undefined && headers[":scheme"] === undefined && headers[":authority"] !== undefined
    : method !== undefined &&
      path !== undefined &&
      headers[":scheme"] !== undefined &&
      (headers[":authority"] ?? headers.host) !== undefined;
  if (!isComplete) throw malformed("A pseudo-header field is missing.", streamId);
  if (path === "*" && method !== "OPTIONS") throw malformed("The path * is only for OPTIONS.", streamId);
  // RFC 9113 section 8.3.1. Two names for one request enable request smuggling.
  const host = headers.host?.toLowerCase();
  if (host !== undefined && host !== (headers[":authority"] ?? host).toString().toLowerCase())
    throw malformed("The field host differs from :authority.", streamId);
  return headers;
}

/** Returns the trailer fields of a request. Throws a stream error if they are malformed. */
export function requestTrailers(fields: readonly string[], streamId: number): IncomingHttpHeaders {
  return headersOf(fields, {}, streamId);
}

/** The declared length of the body, if any. */
export function contentLengthOf(headers: IncomingHttpHeaders, streamId: number): number | undefined {
  const text = headers["content-length"];
  if (text === undefined) return undefined;
  if (!DIGITS.test(text)) throw malformed("The content-length is not a number.", streamId);
  return Number(text);
}

function headersOf(
  fields: readonly string[],
  pseudo: Readonly<Record<string, RegExp>>,
  streamId: number,
): IncomingHttpHeaders {
  const headers = noFields();
  let arePseudoOver = false;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? "";
    const value = fields[index + 1] ?? "";
    if (name.charCodeAt(0) === COLON) {
      if (arePseudoOver || pseudo[name]?.test(value) !== true || headers[name] !== undefined) {
        throw malformed("A pseudo-header field is misplaced or invalid.", streamId);
      }
      headers[name] = value;
      continue;
    }
    arePseudoOver = true;
    if (!NAME.test(name) || BAD_VALUE.test(value)) throw malformed("A field is malformed.", streamId);
    if (OF_CONNECTIONS.has(name) || (name === "te" && value.toLowerCase() !== "trailers")) {
      throw malformed(`HTTP/2 does not allow the field ${name}.`, streamId);
    }
    add(headers, name, value, streamId);
  }
  return headers;
}

const COLON = 58;

function add(headers: HeaderFields, name: string, value: string, streamId: number): void {
  const before = headers[name];
  if (name === "set-cookie") {
    headers[name] = Array.isArray(before) ? [...before, value] : [value];
  } else if (before === undefined) {
    headers[name] = value;
  } else if (name === "content-length" || name === "host") {
    // Different values enable request smuggling; equal ones serve nobody.
    throw malformed(`The field ${name} is repeated.`, streamId);
  } else if (!SINGLE.has(name)) {
    headers[name] = `${String(before)}${name === "cookie" ? "; " : ", "}${value}`;
  }
}

function malformed(message: string, streamId: number): Http2Error {
  return new Http2Error(ErrorCode.protocolError, message, streamId);
}

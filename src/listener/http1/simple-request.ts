/**
 * Parses simple HTTP/1.1 requests: a complete request that is alone in its chunk, without headers that change how the connection works.
 * Node's parser handles everything else, so this parser can be strict and never has to send an error. (RFC 9112 sections 2 to 6)
 */

/** A parsed request head. */
export interface SimpleHead {
  readonly method: string;
  /** The request target: a path, optionally with a query. */
  readonly target: string;
  /** Always has a slot for `x-request-id`, which is generated if absent: growing the object later would cost more than parsing. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly contentLength: number;
}

const HEAD_END = Buffer.from("\r\n\r\n");
/** Requests with longer heads go to Node's parser. */
export const HEAD_BYTES_MAX = 8_192;
const REQUEST_LINE = /^(GET|PUT|POST|DELETE) (\/[\x21-\x7e]*) HTTP\/1\.1$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const LENGTH = /^(?:0|[1-9][0-9]{0,8})$/;
/** Headers that make a request not simple. */
const NOT_SIMPLE = new Set([
  "transfer-encoding",
  "upgrade",
  "expect",
  "trailer",
  "te",
  "proxy-connection",
  "http2-settings",
  "origin",
  "access-control-request-method",
]);

/** The length of the head, including its empty line; undefined if it is incomplete or too long. */
export function headLengthOf(bytes: Buffer, bytesMax: number): number | undefined {
  const end = bytes.indexOf(HEAD_END);
  return end < 0 || end > bytesMax ? undefined : end + HEAD_END.length;
}

/** Parses a head without its empty line. Undefined if the request is not simple. */
export function readSimpleHead(text: string): SimpleHead | undefined {
  const [first = "", ...lines] = text.split("\r\n");
  const request = REQUEST_LINE.exec(first);
  if (request === null) return undefined;
  const headers: Record<string, string | undefined> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const value = line.slice(colon + 1);
    // Repeated headers have their own rules: leave them to Node.
    if (!NAME.test(name) || !VALUE.test(value) || NOT_SIMPLE.has(name) || Object.hasOwn(headers, name))
      return undefined;
    headers[name] = trim(value);
  }
  const [, method = "", target = ""] = request;
  const { host, connection, "content-length": length } = headers;
  if (host === undefined || (connection !== undefined && connection.toLowerCase() !== "keep-alive"))
    return undefined;
  if (length !== undefined && !LENGTH.test(length)) return undefined;
  const contentLength = Number(length ?? 0);
  if (contentLength > 0 && method === "GET") return undefined;
  headers["x-request-id"] ??= undefined;
  return { method, target, headers, contentLength };
}

/** Trims optional whitespace (RFC 9110 section 5.5) in linear time, whatever the value. */
function trim(value: string): string {
  let [start, end] = [0, value.length];
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}

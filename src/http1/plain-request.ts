/**
 * Reads an HTTP/1.1 request that is as plain as most are: whole, alone in what came in, and without anything that changes what its
 * connection does. What is not exactly that is not judged here, but left to Node's parser: so this one may be strict, and never has to
 * refuse. (RFC 9112 sections 2 to 6)
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";

export interface PlainRequest {
  readonly method: string;
  /** The target: a path, perhaps with a query. */
  readonly url: string;
  /** As Node has them. */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly socket: Socket;
  readonly httpVersionMajor: 1;
}

/** What a head says. */
export interface PlainHead {
  readonly method: string;
  readonly url: string;
  /** With room for the request's id, which is made where none came: an object that grows costs more than all that is read of it. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly contentLength: number;
}

const HEAD_END = Buffer.from("\r\n\r\n");
/** Longer heads are not worth a second look. */
export const HEAD_BYTES_MAX = 8_192;
const REQUEST_LINE = /^(GET|PUT|POST|DELETE) (\/[\x21-\x7e]*) HTTP\/1\.1$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const LENGTH = /^(?:0|[1-9][0-9]{0,8})$/;
/** With these a request is not plain. */
const NOT_PLAIN = new Set([
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

/** Where the head in these bytes ends, its empty line included; undefined where it is not whole, or too long. */
export function headLengthOf(bytes: Buffer, bytesMax: number): number | undefined {
  const end = bytes.indexOf(HEAD_END);
  return end < 0 || end > bytesMax ? undefined : end + HEAD_END.length;
}

/** Reads a head, without its empty line. Undefined where it is not plain. */
export function readPlainHead(text: string): PlainHead | undefined {
  const [first = "", ...lines] = text.split("\r\n");
  const request = REQUEST_LINE.exec(first);
  if (request === null) return undefined;
  const headers: Record<string, string | undefined> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const value = line.slice(colon + 1);
    // A name that comes twice needs rules of its own.
    if (!NAME.test(name) || !VALUE.test(value) || NOT_PLAIN.has(name) || Object.hasOwn(headers, name))
      return undefined;
    headers[name] = trim(value);
  }
  const [, method = "", url = ""] = request;
  const { host, connection, "content-length": length } = headers;
  if (host === undefined || (connection !== undefined && connection.toLowerCase() !== "keep-alive"))
    return undefined;
  if (length !== undefined && !LENGTH.test(length)) return undefined;
  const contentLength = Number(length ?? 0);
  if (contentLength > 0 && method === "GET") return undefined;
  headers["x-request-id"] ??= undefined;
  return { method, url, headers, contentLength };
}

/** Without the white space around it (RFC 9110 section 5.5), in one pass from either end, whatever lies between. */
function trim(value: string): string {
  let [start, end] = [0, value.length];
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}

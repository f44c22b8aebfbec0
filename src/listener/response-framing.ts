/** What all transports share about the framing of responses. */
import type { Chunk, Fields } from "../protocol/exchange.js";

/** Too many bytes of requests without a response are held. */
export const HTTP1_OVERLOADED =
  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/** A request head, or its trailer section, is longer than allowed. */
export const HTTP1_HEAD_TOO_LONG =
  "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/** Whether a response has no content whatever its fields say (RFC 9110 section 6.4.1). */
export function hasNoContent(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 304;
}

/** The value of the `content-length` to add to a complete HTTP/1.1 response; undefined if it has one, or must have none. */
export function missingLength(
  status: number,
  fields: Readonly<Fields>,
  body: Chunk | undefined,
): string | undefined {
  if (status === 204 || status === 304 || fields["content-length"] !== undefined) return undefined;
  if (body === undefined) return "0";
  return String(typeof body === "string" ? Buffer.byteLength(body) : body.length);
}

/** A field that is expected at most once. */
export function textOf(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Rejects requests that RFC 9112 forbids, but Node's HTTP/1 parser accepts. */
import type { IncomingMessage } from "node:http";

/**
 * Whether a request must be rejected: HTTP/0.9, or not exactly one `Host` (RFC 9112 section 3.2). With two, a proxy may have routed by the
 * other one.
 */
export function isMalformed(request: IncomingMessage): boolean {
  if (request.httpVersionMajor !== 1) return true;
  const { rawHeaders } = request;
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  return request.httpVersionMinor === 0 ? hosts > 1 : hosts !== 1;
}

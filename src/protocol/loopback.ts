/**
 * Protects a service without API keys on loopback from web pages of other sites. Their origins are not allowed by default, and the service
 * does not answer to DNS names: with DNS rebinding, a page's own domain resolves to 127.0.0.1, the browser considers our responses
 * same-origin, and only the `Host` header differs.
 */
import { isIP } from "node:net";

/** Whether a URL's host is always this machine: localhost, a name under it (RFC 6761), or a loopback address. */
export function isLoopbackHost(host: string): boolean {
  const name = bareHost(host);
  if (name === "localhost" || name.endsWith(".localhost") || name === "::1") return true;
  return isIP(name) === 4 && name.startsWith("127.");
}

/** Whether this machine serves an origin, such as http://localhost:5173. */
export function isLoopbackOrigin(origin: string): boolean {
  const host = /^https?:\/\/(\[[\da-f:]+\]|[^/:[\]]+)(?::\d+)?$/i.exec(origin)?.[1];
  return host !== undefined && isLoopbackHost(host);
}

/** Whether a `Host` or `:authority` can be a rebound domain: a name with a dot. Nobody can register addresses or single labels. */
export function mayBeRebound(authority: string): boolean {
  const host = bareHost(authority.replace(/:\d*$/, ""));
  return host.includes(".") && isIP(host) === 0 && !isLoopbackHost(host);
}

function bareHost(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
}

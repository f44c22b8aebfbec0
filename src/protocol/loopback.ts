/**
 * What a page of another site could do to a service that is open to every program of this machine, and what keeps it out: pages of other
 * machines are not allowed by default, and a service on loopback does not answer by a name of the Domain Name System. (A page may have its
 * own name lead to 127.0.0.1, "DNS rebinding"; the browser then takes us for its own site, and only the Host tells.)
 */
import { isIP } from "node:net";

/** Whether a host, as it stands in a URL, is this machine for everyone: localhost, a name under it (RFC 6761), or a loopback address. */
export function isLoopbackHost(host: string): boolean {
  const name = bare(host);
  if (name === "localhost" || name.endsWith(".localhost") || name === "::1") return true;
  return isIP(name) === 4 && name.startsWith("127.");
}

/** Whether an origin such as http://localhost:5173 is a page that this machine serves. */
export function isLoopbackOrigin(origin: string): boolean {
  const host = /^https?:\/\/(\[[\da-f:]+\]|[^/:[\]]+)(?::\d+)?$/i.exec(origin)?.[1];
  return host !== undefined && isLoopbackHost(host);
}

/** Whether a `Host` or `:authority` may be a page's own: a name with a dot. Addresses and names without a dot can't be had. */
export function mayBeRebound(authority: string): boolean {
  const host = bare(authority.replace(/:\d*$/, ""));
  return host.includes(".") && isIP(host) === 0 && !isLoopbackHost(host);
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
}

/** Content codings that a client accepts (RFC 9110 section 12.5.3). */
import type { IncomingHttpHeaders } from "node:http";

/** Whether the client accepts the coding. Without `Accept-Encoding`, none. */
export function acceptsCoding({ "accept-encoding": header }: IncomingHttpHeaders, coding: string): boolean {
  if (typeof header !== "string") return false;
  if (header === coding) return true;
  let acceptsAny = false;
  for (const part of header.toLowerCase().split(",")) {
    const [name = "", ...parameters] = part.split(";").map((text) => text.trim());
    const isAccepted = !parameters.some((parameter) => /^q\s*=\s*0(\.0*)?$/.test(parameter));
    if (name === coding) return isAccepted;
    if (name === "*") acceptsAny = isAccepted;
  }
  return acceptsAny;
}

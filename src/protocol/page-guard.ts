/** Rejects requests from disallowed web pages, in every protocol, before they take effect: browsers send them whatever CORS says. */
import type { Cors } from "./cors.js";
import { mayBeRebound } from "./loopback.js";

/** Returns why a request with this `Origin` and `Host` (or `:authority`) is rejected; undefined if it is allowed. */
export type PageGuard = (origin: string | undefined, authority: string | undefined) => string | undefined;

const FOREIGN_ORIGIN = "Pages of this origin may not call the service; ALLOWED_ORIGINS names those that may.";
const FOREIGN_HOST =
  "This service needs no key and is for programs of this machine only: it answers by localhost or an address, not by this name.";

/** `isOpen`: whether the service needs no API key, so that only listening on loopback protects it. */
export function createPageGuard(cors: Pick<Cors, "refuses">, isOpen: () => boolean): PageGuard {
  // Cached: clients mostly use one name.
  let knownGood: string | undefined;
  return (origin, authority) => {
    if (origin !== undefined && cors.refuses(origin, authority)) return FOREIGN_ORIGIN;
    if (authority === undefined || authority === knownGood || !isOpen()) return undefined;
    if (mayBeRebound(authority)) return FOREIGN_HOST;
    knownGood = authority;
    return undefined;
  };
}

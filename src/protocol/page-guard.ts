/** Keeps out pages that have no business here, on every door and before anything is done: browsers send their calls whatever CORS says. */
import type { Cors } from "./cors.js";
import { mayBeRebound } from "./loopback.js";

/** Why a request with this `Origin`, for this `Host` or `:authority`, is refused; undefined: it is not. */
export type PageGuard = (origin: string | undefined, authority: string | undefined) => string | undefined;

const FOREIGN_ORIGIN = "Pages of this origin may not call the service; ALLOWED_ORIGINS names those that may.";
const FOREIGN_HOST =
  "This service needs no key and is for programs of this machine only: it answers by localhost or an address, not by this name.";

/** `isOpen`: whether everyone may call without a key, and loopback alone keeps others out. */
export function createPageGuard(cors: Pick<Cors, "refuses">, isOpen: () => boolean): PageGuard {
  // A service is known by one name, mostly.
  let knownGood: string | undefined;
  return (origin, authority) => {
    if (origin !== undefined && cors.refuses(origin, authority)) return FOREIGN_ORIGIN;
    if (authority === undefined || authority === knownGood || !isOpen()) return undefined;
    if (mayBeRebound(authority)) return FOREIGN_HOST;
    knownGood = authority;
    return undefined;
  };
}

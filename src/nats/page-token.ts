/**
 * Page tokens: opaque text that says after which item the next page begins.
 *
 * A page continues by name, not by number, so that an item that lives through the whole listing is on exactly one page, whatever
 * comes and goes. Any copy of the service understands the tokens of any other.
 */
import { createHash } from "node:crypto";
import { invalidArgument } from "../kv/errors.js";

const VERSION = 1;
const FINGERPRINT_CHARS = 8;

/** The token of the page after this item. `listing` names what is listed: the token is good for nothing else. */
export function writePageToken(listing: string, after: string): string {
  return Buffer.from(JSON.stringify([VERSION, fingerprint(listing), after])).toString("base64url");
}

/** The item that the page begins after; undefined for the first page. Throws `invalid_argument`. */
export function readPageToken(token: string, listing: string): string | undefined {
  if (token === "") return undefined;
  const fields = parseToken(token);
  if (fields === undefined) {
    throw invalidArgument("The page_token is malformed; give back next_page_token as it came.");
  }
  if (fields.fingerprint !== fingerprint(listing)) {
    throw invalidArgument("The page_token is of another listing; use it with the same bucket and filters.");
  }
  return fields.after;
}

/** The number of items on a page; 0 asks for the most. Throws `invalid_argument`. */
export function pageLimit(limit: number, most: number): number {
  if (limit === 0) return most;
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  throw invalidArgument(`The limit is ${limit}; it takes 1 to ${most}, or 0 for the most.`);
}

function parseToken(token: string): { readonly fingerprint: string; readonly after: string } | undefined {
  const bytes = Buffer.from(token, "base64url");
  // Node skips what is no base64: only what it would have written is a token.
  if (bytes.toString("base64url") !== token) return undefined;
  try {
    const fields: unknown = JSON.parse(bytes.toString("utf8"));
    if (!Array.isArray(fields) || fields.length !== 3) return undefined;
    const [version, print, after] = fields as readonly unknown[];
    if (version !== VERSION || typeof print !== "string" || typeof after !== "string") return undefined;
    return { fingerprint: print, after };
  } catch {
    return undefined;
  }
}

function fingerprint(listing: string): string {
  return createHash("sha256").update(listing).digest("base64url").slice(0, FINGERPRINT_CHARS);
}

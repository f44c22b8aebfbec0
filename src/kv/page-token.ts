/**
 * Page tokens: opaque text that says after which item the next page begins.
 *
 * A page continues by name or revision, not by number, so that an item that lives through the whole listing is on exactly one page, whatever
 * comes and goes. Any copy of the service understands the tokens of any other.
 */
import { createHash } from "node:crypto";
import { invalidArgument, type KvError } from "./errors.js";

const VERSION = 2;
const FINGERPRINT_CHARS = 8;

/** What a token says. */
export interface PageToken {
  /** The item that the page begins after. */
  readonly after: string;
  /** The fingerprint of the bucket's creation. */
  readonly incarnation: string;
}

/**
 * The token of the page after this item. `listing` names what is listed, and `created` the creation of the bucket that it is read from: the
 * token is valid for nothing else. Default: it is not of one bucket.
 */
export function writePageToken(listing: string, after: string, created = ""): string {
  const fields = [VERSION, fingerprint(listing), fingerprint(created), after];
  return Buffer.from(JSON.stringify(fields)).toString("base64url");
}

/** What a token of this listing says; undefined for the first page. Throws `invalid_argument`. */
export function readPageToken(token: string, listing: string): PageToken | undefined {
  if (token === "") return undefined;
  const fields = parseToken(token);
  if (fields === undefined) throw malformedPageToken();
  if (fields.listing !== fingerprint(listing)) {
    throw invalidArgument(
      "The page_token is of another listing; use it with the same method, bucket, key and filters.",
    );
  }
  return fields;
}

/** Throws `invalid_argument` where the token is of a bucket that was created at another time. */
export function checkIncarnation(token: PageToken | undefined, created: string): void {
  if (token === undefined || token.incarnation === fingerprint(created)) return;
  throw invalidArgument(
    "The page_token is of an earlier bucket of this name, which was deleted and recreated since; start again without page_token.",
  );
}

export function malformedPageToken(): KvError {
  return invalidArgument("The page_token is malformed; send next_page_token of the previous page unchanged.");
}

/** The number of items on a page; 0 asks for the most. Throws `invalid_argument`. */
export function pageLimit(limit: number, most: number): number {
  if (limit === 0) return most;
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  throw invalidArgument(`The limit is ${limit}; it takes 1 to ${most}, or 0 for the most.`);
}

function parseToken(token: string): (PageToken & { readonly listing: string }) | undefined {
  const bytes = Buffer.from(token, "base64url");
  // Node skips what is no base64: only what it would have written is a token.
  if (bytes.toString("base64url") !== token) return undefined;
  try {
    const fields: unknown = JSON.parse(bytes.toString("utf8"));
    if (!Array.isArray(fields) || fields.length !== 4) return undefined;
    const [version, listing, incarnation, after] = fields as readonly unknown[];
    if (version !== VERSION || typeof listing !== "string" || typeof incarnation !== "string")
      return undefined;
    return typeof after === "string" ? { listing, incarnation, after } : undefined;
  } catch {
    return undefined;
  }
}

function fingerprint(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, FINGERPRINT_CHARS);
}

/**
 * Page tokens: opaque text that encodes the item after which the next page begins.
 *
 * A page continues by name or revision, not by index: an item that exists during the whole listing is on exactly one page, whatever is
 * added or removed. Every replica of the service accepts the tokens of every other.
 */
import { createHash } from "node:crypto";
import { invalidArgument, type KvError } from "./errors.js";

const VERSION = 2;
const FINGERPRINT_CHARS = 8;

/** The content of a token. */
export interface PageToken {
  /** The item that the page begins after. */
  readonly after: string;
  /** The fingerprint of the bucket's creation. */
  readonly incarnation: string;
}

/**
 * The token of the page after this item. The token is valid only for the same `listing` and for the bucket created at `created`. Default:
 * the listing is not of one bucket.
 */
export function writePageToken(listing: string, after: string, created = ""): string {
  const fields = [VERSION, fingerprint(listing), fingerprint(created), after];
  return Buffer.from(JSON.stringify(fields)).toString("base64url");
}

/** Decodes a token of this listing; undefined for the first page. Throws `invalid_argument`. */
export function readPageToken(token: string, listing: string): PageToken | undefined {
  if (token === "") return undefined;
  const fields = parseToken(token);
  if (fields === undefined) throw malformedPageToken();
  if (fields.listing !== fingerprint(listing)) {
    throw invalidArgument(
      "The page_token belongs to another listing; use it with the same method, bucket, key and filters.",
    );
  }
  return fields;
}

/** Throws `invalid_argument` if the token belongs to a bucket created at another time. */
export function checkIncarnation(token: PageToken | undefined, created: string): void {
  if (token === undefined || token.incarnation === fingerprint(created)) return;
  throw invalidArgument(
    "The page_token belongs to an earlier bucket with this name, which was deleted and recreated; start again without page_token.",
  );
}

export function malformedPageToken(): KvError {
  return invalidArgument("The page_token is malformed; send next_page_token of the previous page unchanged.");
}

/** The number of items on a page; 0 requests the maximum. Throws `invalid_argument`. */
export function pageLimit(limit: number, most: number): number {
  if (limit === 0) return most;
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  throw invalidArgument(`The limit is ${limit}; a limit is 1 to ${most}, or 0 for the maximum.`);
}

function parseToken(token: string): (PageToken & { readonly listing: string }) | undefined {
  const bytes = Buffer.from(token, "base64url");
  // Node ignores invalid base64 characters; accept only the canonical encoding.
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

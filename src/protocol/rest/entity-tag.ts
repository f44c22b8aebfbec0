/**
 * Entity tags (RFC 9110 section 8.8.3): a revision and the bucket's creation time, in milliseconds in base 36, such as `"7-lqx0w8zk"`. A
 * recreated bucket reuses revisions, but has another creation time. A tag without a creation time matches any bucket of that name.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { millisecondsOfTimestamp, timestampOf } from "../../service/convert.js";

export interface EntityTag {
  readonly revision: bigint;
  /** Undefined: any bucket of that name. */
  readonly bucketCreatedAt: Timestamp | undefined;
}

const REVISION_MAX = 2n ** 64n - 1n;
const CREATION_RADIX = 36;
const TAG = /^(\d{1,20})(?:-([0-9a-z]{1,10}))?$/;
/** Quoted, weak, or unquoted, as scripts send it. */
const OPAQUE = /^(?:(?:W\/)?"([^"]*)"|([^"]*))$/;

/** The tag of a revision. */
export function entityTag(revision: bigint, bucketCreatedAt: Timestamp | undefined): string {
  if (bucketCreatedAt === undefined) return `"${revision}"`;
  return `"${revision}-${creationOf(bucketCreatedAt)}"`;
}

/** Parses a tag; undefined if it does not have this format. */
export function parseEntityTag(text: string): EntityTag | undefined {
  const quoted = OPAQUE.exec(text.trim());
  const found = TAG.exec(quoted?.[1] ?? quoted?.[2] ?? "");
  if (found === null) return undefined;
  const revision = BigInt(found[1] ?? "");
  if (revision > REVISION_MAX) return undefined;
  const creation = found[2];
  return {
    revision,
    bucketCreatedAt:
      creation === undefined ? undefined : timestampOf(Number.parseInt(creation, CREATION_RADIX), 0),
  };
}

/** Whether a tag in the header has a creation time. */
export function namesBucket(header: string | undefined): boolean {
  return header?.split(",").some((tag) => parseEntityTag(tag)?.bucketCreatedAt !== undefined) ?? false;
}

/** Whether the header (`*` or a list of tags) matches this entry. Tags in another format match nothing. */
export function matchesEntry(
  header: string,
  revision: bigint,
  bucketCreatedAt: Timestamp | undefined,
): boolean {
  if (header.trim() === "*") return true;
  const creation = bucketCreatedAt && creationOf(bucketCreatedAt);
  return header.split(",").some((text) => {
    const tag = parseEntityTag(text);
    if (tag?.revision !== revision) return false;
    return tag.bucketCreatedAt === undefined || creationOf(tag.bucketCreatedAt) === creation;
  });
}

function creationOf(bucketCreatedAt: Timestamp): string {
  return millisecondsOfTimestamp(bucketCreatedAt).toString(CREATION_RADIX);
}

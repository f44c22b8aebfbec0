/**
 * Entity tags (RFC 9110 section 8.8.3): a revision, and the creation time of its bucket in milliseconds in base 36, such as `"7-lqx0w8zk"`.
 * A bucket that was deleted and recreated has the old revisions, but not the old time. Without the time, a tag is of any bucket of the name.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { millisecondsOfTimestamp, timestampOf } from "../../service/convert.js";

export interface EntityTag {
  readonly revision: bigint;
  /** Undefined: of any bucket of the name. */
  readonly bucketCreatedAt: Timestamp | undefined;
}

const REVISION_MAX = 2n ** 64n - 1n;
const CREATION_RADIX = 36;
const TAG = /^(\d{1,20})(?:-([0-9a-z]{1,10}))?$/;
/** Quoted, weak, or bare as scripts write it. */
const OPAQUE = /^(?:(?:W\/)?"([^"]*)"|([^"]*))$/;

/** The tag of a revision. */
export function entityTag(revision: bigint, bucketCreatedAt: Timestamp | undefined): string {
  if (bucketCreatedAt === undefined) return `"${revision}"`;
  return `"${revision}-${creationOf(bucketCreatedAt)}"`;
}

/** What a tag says; undefined where it is no tag of ours. */
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

/** Whether a header of tags has one that names a bucket by its creation. */
export function namesBucket(header: string | undefined): boolean {
  return header?.split(",").some((tag) => parseEntityTag(tag)?.bucketCreatedAt !== undefined) ?? false;
}

/** Whether a header of tags (`*`, or a list in any of their forms) has the one of this entry. Tags of another kind match nothing. */
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

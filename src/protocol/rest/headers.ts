/** What request headers ask for: conditions (RFC 9110 section 13) and the form of the answer (section 12). */
import { type EntityTag, parseEntityTag } from "./entity-tag.js";
import { badRequest } from "./errors.js";

/** The one entry that `If-Match` names. Throws a 400 for anything else: `*`, a list, zero, another kind of tag. */
export function tagOfIfMatch(header: string): EntityTag {
  const tag = parseEntityTag(header);
  if (tag === undefined || tag.revision === 0n) {
    throw badRequest(
      `If-Match is ${show(header)}; it takes one ETag, or one revision of 1 or more such as 7 or "7". To create a key, send If-None-Match: *.`,
    );
  }
  return tag;
}

/** What `Idempotency-Key` says; empty without one. Throws a 400 where it is there and says nothing. */
export function idempotencyKeyOf(header: string | string[] | undefined): string {
  if (header === "")
    throw badRequest("Idempotency-Key is empty; it takes 1 to 128 visible ASCII characters.");
  return header === undefined ? "" : String(header);
}

/** Throws a 400 unless `If-None-Match` of a write is `*`. */
export function checkIfNoneMatchOfWrite(header: string): void {
  if (header.trim() !== "*") {
    throw badRequest(`If-None-Match is ${show(header)}; a write takes * only, which means: create.`);
  }
}

/**
 * Whether `Accept` names one media type, and not another one with a better quality, or as good and first. Wildcards name nothing.
 */
export function prefers(accept: string | undefined, wanted: string, other?: string): boolean {
  if (accept === undefined || !accept.toLowerCase().includes(wanted)) return false;
  let best = "";
  let bestQuality = 0;
  for (const part of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = part.split(";").map((text) => text.trim());
    if (type !== wanted && type !== other) continue;
    const quality = qualityOf(parameters);
    if (quality > bestQuality) [best, bestQuality] = [type, quality];
  }
  return best === wanted;
}

function qualityOf(parameters: readonly string[]): number {
  const quality = parameters.find((parameter) => parameter.startsWith("q="));
  if (quality === undefined) return 1;
  const value = Number(quality.slice(2));
  return value >= 0 && value <= 1 ? value : 0;
}

const JSON_IN_FACT = new Set(["application/json", "application/x-www-form-urlencoded", "text/plain"]);

/**
 * Whether a body of this content type may be read as JSON: `application/json`, or a suffix `+json`. Absent counts, since many scripts send
 * none, and so do the types that curl's `-d` and the fetch of browsers give a text by themselves.
 */
export function isJsonType(contentType: string | undefined): boolean {
  if (contentType === undefined) return true;
  const type = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
  return JSON_IN_FACT.has(type) || /^[a-z]+\/[a-z0-9.-]+\+json$/.test(type);
}

function show(header: string): string {
  return header.length <= 80 ? header : `${header.slice(0, 77)}...`;
}

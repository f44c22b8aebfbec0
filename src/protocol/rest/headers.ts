/** Parses request headers: preconditions (RFC 9110 section 13) and content negotiation (section 12). */
import { type EntityTag, parseEntityTag } from "./entity-tag.js";
import { badRequest } from "./errors.js";

/** Parses `If-Match` of a write. Throws a 400 unless it is exactly one of our tags, not `*`, a list or revision zero. */
export function tagOfIfMatch(header: string): EntityTag {
  const tag = parseEntityTag(header);
  if (tag === undefined || tag.revision === 0n) {
    throw badRequest(
      `If-Match is ${show(header)}; it must be one ETag, or one revision of 1 or more such as 7 or "7". To create a key, send If-None-Match: *.`,
    );
  }
  return tag;
}

/** The idempotency key; empty if the header is absent. Throws a 400 if the header is empty. */
export function idempotencyKeyOf(header: string | string[] | undefined): string {
  if (header === "")
    throw badRequest("Idempotency-Key is empty; it must be 1 to 128 visible ASCII characters.");
  return header === undefined ? "" : String(header);
}

/** Throws a 400 unless `If-None-Match` of a write is `*`. */
export function checkIfNoneMatchOfWrite(header: string): void {
  if (header.trim() !== "*") {
    throw badRequest(`If-None-Match is ${show(header)}; a write takes * only, which means: create.`);
  }
}

/**
 * Whether `Accept` lists `wanted`, and does not prefer `other` by quality or, at equal quality, by order. Wildcards are ignored.
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

const JSON_TYPES = new Set(["application/json", "application/x-www-form-urlencoded", "text/plain"]);

/**
 * Whether to parse a body of this content type as JSON: `application/json` or a `+json` suffix. Also accepts no content type, which many
 * scripts send, and the defaults of `curl -d` and of browsers' `fetch`.
 */
export function isJsonType(contentType: string | undefined): boolean {
  if (contentType === undefined) return true;
  const type = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
  return JSON_TYPES.has(type) || /^[a-z]+\/[a-z0-9.-]+\+json$/.test(type);
}

function show(header: string): string {
  return header.length <= 80 ? header : `${header.slice(0, 77)}...`;
}

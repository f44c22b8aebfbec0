/** What scopes allow: globs over bucket names, and whether one scope lies within another. */
import { invalidArgument } from "../kv/errors.js";
import { matchGlob } from "../kv/filter.js";
import { DEFAULT_LIMITS } from "../kv/limits.js";
import { quote } from "../kv/names.js";
import { ACCESSES, type Access, type Scope } from "../service/principal.js";

/** Everything, on every bucket. */
export const ALL_SCOPES: readonly Scope[] = [{ accesses: ACCESSES, buckets: "*" }];

const BUCKET_GLOB = /^[A-Za-z0-9_*-]{1,64}$/;

/** Whether one of the scopes allows this access to the bucket; `*` as the bucket's name means all that are or will be. */
export function allows(scopes: readonly Scope[], access: Access, bucket: string): boolean {
  return scopes.some((scope) => scope.accesses.includes(access) && matches(scope.buckets, bucket));
}

/** Whether one of the scopes allows any access to the bucket. */
export function allowsAny(scopes: readonly Scope[], bucket: string): boolean {
  return scopes.some((scope) => matches(scope.buckets, bucket));
}

/**
 * Whether all that the inner scopes allow is allowed by the outer ones. A glob that another one matches as text lies within it: names
 * have no stars, so that only a star of the outer can match one of the inner.
 */
export function covers(outer: readonly Scope[], inner: readonly Scope[]): boolean {
  return inner.every((scope) => scope.accesses.every((access) => allows(outer, access, scope.buckets)));
}

/** Throws `invalid_argument` unless these are scopes that a key can have. */
export function checkScopes(scopes: readonly Scope[]): void {
  const most = DEFAULT_LIMITS.apiKeyScopesMax;
  if (scopes.length === 0 || scopes.length > most) {
    throw invalidArgument(`The key has ${scopes.length} scopes; it takes 1 to ${most}.`);
  }
  for (const { accesses, buckets } of scopes) {
    if (accesses.length === 0) {
      throw invalidArgument(
        `The scope on ${quote(buckets)} allows nothing; it takes ${ACCESSES.join(", ")}.`,
      );
    }
    if (!BUCKET_GLOB.test(buckets)) {
      throw invalidArgument(
        `The scope on ${quote(buckets)} is malformed; it takes a bucket's name, with * for any run of characters.`,
      );
    }
  }
}

function matches(glob: string, bucket: string): boolean {
  if (glob === "*") return true;
  const pieces = glob.split("*");
  return pieces.length === 1 ? glob === bucket : matchGlob(pieces, bucket);
}

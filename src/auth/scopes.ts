/** Scopes: matches bucket globs, and checks whether one set of scopes covers another. */
import { invalidArgument } from "../kv/errors.js";
import { matchGlob } from "../kv/filter.js";
import { DEFAULT_LIMITS } from "../kv/limits.js";
import { quote, splitBucketName } from "../kv/names.js";
import { ACCESSES, type Access, type Scope } from "../service/principal.js";

/** Every permission on every bucket of every environment. */
export const ALL_SCOPES: readonly Scope[] = [{ accesses: ACCESSES, buckets: "*/*" }];

const BUCKET_GLOB = /^(?:[A-Za-z0-9*-]{1,32}\/)?[A-Za-z0-9_*-]{1,64}$/;

/** Whether one of the scopes allows this access to a bucket; `*`: to all buckets, including future ones. */
export function allows(scopes: readonly Scope[], access: Access, bucket: string): boolean {
  return scopes.some((scope) => scope.accesses.includes(access) && matches(scope.buckets, bucket));
}

/** Whether one of the scopes allows any access to the bucket. */
export function allowsAny(scopes: readonly Scope[], bucket: string): boolean {
  return scopes.some((scope) => matches(scope.buckets, bucket));
}

/**
 * Whether the outer scopes allow everything that the inner ones allow. An outer glob covers an inner one if it matches its text, because
 * only a star of the outer glob can match a star of the inner one: names of buckets and environments have none.
 */
export function covers(outer: readonly Scope[], inner: readonly Scope[]): boolean {
  return inner.every((scope) => scope.accesses.every((access) => allows(outer, access, scope.buckets)));
}

/** Throws `invalid_argument` unless the scopes are valid for a key. */
export function checkScopes(scopes: readonly Scope[]): void {
  const most = DEFAULT_LIMITS.apiKeyScopesMax;
  if (scopes.length === 0 || scopes.length > most) {
    throw invalidArgument(`The key has ${scopes.length} scopes; it must have 1 to ${most}.`);
  }
  for (const { accesses, buckets } of scopes) {
    if (accesses.length === 0) {
      throw invalidArgument(
        `The scope on ${quote(buckets)} has no access; it needs at least one of ${ACCESSES.join(", ")}.`,
      );
    }
    if (!BUCKET_GLOB.test(buckets)) {
      throw invalidArgument(
        `The scope on ${quote(buckets)} is malformed; it must be a bucket name, or an environment, / and a bucket name; * matches zero or more characters of each.`,
      );
    }
  }
}

/** Without an environment, a glob is of the default one, as a name is. */
function matches(glob: string, bucket: string): boolean {
  const of = splitBucketName(glob);
  const { environment, name } = splitBucketName(bucket);
  return matchesText(of.environment, environment) && matchesText(of.name, name);
}

function matchesText(glob: string, text: string): boolean {
  if (glob === "*") return true;
  const pieces = glob.split("*");
  return pieces.length === 1 ? glob === text : matchGlob(pieces, text);
}

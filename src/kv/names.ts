/**
 * Names of buckets and keys, and their stored forms. Every protocol goes through this module.
 *
 * A user's bucket `x` is the JetStream stream `KV_APP_x`; its key `k` is the subject `$KV.APP_x.<escaped k>`. In an environment `e` other
 * than the default one, its qualified name is `e/x`, and its stream `KV_ENV_e_x`. The service's own buckets are `SYS_...`. Clients can't
 * address them: this module maps every name from a client to `APP_...` or `ENV_...`.
 *
 * Escaping keeps each character that NATS KV allows in a key (ADR-8: `A-Z a-z 0-9 - / _ .`) except `=`, so the `nats` command shows the
 * same names. Other UTF-8 bytes, `=` itself, and dots that would create an empty token become `=XX`, with two upper-case hex digits.
 */
import { invalidArgument } from "./errors.js";
import { DEFAULT_LIMITS } from "./limits.js";

const BUCKET_NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** Without `_`, which ends it in the stored name. */
const ENVIRONMENT_NAME = /^[A-Za-z0-9-]{1,32}$/;
const STORED_IN_ENVIRONMENT = /^ENV_([A-Za-z0-9-]{1,32})_([A-Za-z0-9_-]{1,64})$/;
const RESERVED_BUCKET_NAME = /^(APP|SYS)_/;
/** The owner of a bucket, as the prefix of its stored name. `SYS_` is for the service itself, never for a name from a client. */
export type BucketOwner = "APP_" | "SYS_";
const USERS: BucketOwner = "APP_";
const STREAM_PREFIX = "KV_";

/** Keys that need no escaping, the common case. */
const PLAIN_KEY = /^[A-Za-z0-9_/-]+(?:\.[A-Za-z0-9_/-]+)*$/;
const ESCAPED_BYTE = /=([0-9A-F]{2})/g;
// eslint-disable-next-line no-control-regex
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;
const LATE_CONTROL_CHARACTER = /[\u007f-\u009f]/g;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Throws `invalid_argument` unless the name is 1 to 64 of `A-Z a-z 0-9 _ -`. */
export function checkBucketName(bucket: string): void {
  if (!BUCKET_NAME.test(bucket)) {
    throw invalidArgument(
      bucket === ""
        ? "The bucket's name is missing; it must be 1 to 64 letters, digits, '_' or '-'."
        : `The bucket name ${quote(bucket)} is malformed; it must be 1 to 64 letters, digits, '_' or '-'.`,
    );
  }
}

/** Whether the bucket's name begins with a reserved prefix; such buckets can't be created. */
export function isReservedBucketName(bucket: string): boolean {
  return RESERVED_BUCKET_NAME.test(splitBucketName(bucket).name);
}

/** The environment of calls that name none. */
export const DEFAULT_ENVIRONMENT = "default";
/** Separates the environment from the bucket in a qualified name. Neither can contain it. */
const SEPARATOR = "/";

/** Throws `invalid_argument` unless the name is 1 to 32 of `A-Z a-z 0-9 -`. */
export function checkEnvironmentName(environment: string): void {
  if (ENVIRONMENT_NAME.test(environment)) return;
  throw invalidArgument(
    `The environment ${quote(environment)} is malformed; it must be 1 to 32 letters, digits or '-'.`,
  );
}

/** The name that identifies a bucket among those of all environments. Checks the bucket's name, not the environment's. */
export function qualifiedBucketName(bucket: string, environment: string): string {
  checkBucketName(bucket);
  return environment === DEFAULT_ENVIRONMENT ? bucket : environment + SEPARATOR + bucket;
}

/** The parts of a qualified name. */
export function splitBucketName(qualified: string): { readonly environment: string; readonly name: string } {
  const at = qualified.indexOf(SEPARATOR);
  if (at === -1) return { environment: DEFAULT_ENVIRONMENT, name: qualified };
  return { environment: qualified.slice(0, at), name: qualified.slice(at + SEPARATOR.length) };
}

/** The NATS KV name of a bucket: a user's `sessions` is `APP_sessions`. Checks the qualified name. */
export function storedBucketName(bucket: string, owner = USERS): string {
  const { environment, name } = splitBucketName(bucket);
  checkBucketName(name);
  if (environment === DEFAULT_ENVIRONMENT) return owner + name;
  checkEnvironmentName(environment);
  return `ENV_${environment}_${name}`;
}

/** The JetStream stream that holds a bucket. */
export function streamName(bucket: string, owner = USERS): string {
  return STREAM_PREFIX + storedBucketName(bucket, owner);
}

/** The qualified name of the user's bucket that a stream holds; undefined for any other stream, including the service's own. */
export function bucketOfStream(stream: string): string | undefined {
  if (!stream.startsWith(STREAM_PREFIX)) return undefined;
  const stored = stream.slice(STREAM_PREFIX.length);
  if (stored.startsWith(USERS)) {
    const bucket = stored.slice(USERS.length);
    return BUCKET_NAME.test(bucket) ? bucket : undefined;
  }
  const [, environment = DEFAULT_ENVIRONMENT, bucket = ""] = STORED_IN_ENVIRONMENT.exec(stored) ?? [];
  return environment === DEFAULT_ENVIRONMENT ? undefined : qualifiedBucketName(bucket, environment);
}

/** The prefix of every subject of a bucket, such as `$KV.APP_sessions.` */
export function subjectPrefix(bucket: string, owner = USERS): string {
  return `$KV.${storedBucketName(bucket, owner)}.`;
}

/** Throws `invalid_argument` unless the key is 1 to 512 bytes of UTF-8 without control characters. */
export function checkKey(key: string): void {
  if (key === "") throw invalidArgument("The key is empty; it must be 1 to 512 bytes of UTF-8.");
  if (key.length <= DEFAULT_LIMITS.keyBytesMax && PLAIN_KEY.test(key)) return;
  if (CONTROL_CHARACTER.test(key)) {
    throw invalidArgument(`The key ${quote(key)} has a control character; keys are printable text.`);
  }
  if (!key.isWellFormed()) {
    throw invalidArgument("The key has a lone surrogate; it must be well-formed Unicode.");
  }
  const bytes = Buffer.byteLength(key);
  if (bytes > DEFAULT_LIMITS.keyBytesMax) {
    throw invalidArgument(`The key has ${bytes} bytes; at most ${DEFAULT_LIMITS.keyBytesMax} are allowed.`);
  }
}

/** The stored form of a key; no two keys have the same. Checks the key. */
export function escapeKey(key: string): string {
  checkKey(key);
  return PLAIN_KEY.test(key) ? key : escapeText(key, "");
}

/** The subject that holds a key. Checks the key. */
export function subjectOf(bucket: string, key: string): string {
  return subjectPrefix(bucket) + escapeKey(key);
}

/** Whether the bytes from `start` to before `end` are a key that is stored unchanged. */
export function isPlainKey(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > DEFAULT_LIMITS.keyBytesMax) return false;
  let isTokenEmpty = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte === DOT) {
      if (isTokenEmpty) return false;
      isTokenEmpty = true;
    } else {
      if (!isPlain(byte)) return false;
      isTokenEmpty = false;
    }
  }
  return !isTokenEmpty;
}

/**
 * The key of a stored form. Undefined if no key has this form, because another program wrote an `=` that is not a canonical escape: the
 * service hides such entries.
 */
export function unescapeKey(stored: string): string | undefined {
  if (stored.length <= DEFAULT_LIMITS.keyBytesMax && PLAIN_KEY.test(stored)) return stored;
  const key = unescapeText(stored);
  try {
    return key !== undefined && escapeKey(key) === stored ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Unescapes a stored form or part of one; undefined if its escapes are not UTF-8. Never throws. */
export function unescapeText(stored: string): string | undefined {
  const latin1 = stored.replace(ESCAPED_BYTE, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  try {
    return decoder.decode(Buffer.from(latin1, "latin1"));
  } catch {
    return undefined;
  }
}

/**
 * Escapes text of a key, or of a filter whose wildcard characters are given as `keep`.
 *
 * A dot separates two tokens if neither is empty: it is not the first or last character and does not follow another separator.
 */
export function escapeText(text: string, keep: "" | "*" | "*>"): string {
  let stored = "";
  let tokenIsEmpty = true;
  const bytes = encoder.encode(text);
  for (const [index, byte] of bytes.entries()) {
    const character = String.fromCharCode(byte);
    if (byte === DOT && !tokenIsEmpty && index < bytes.length - 1) {
      stored += ".";
      tokenIsEmpty = true;
      continue;
    }
    stored += isPlain(byte) || keep.includes(character) ? character : `=${hex(byte)}`;
    tokenIsEmpty = false;
  }
  return stored;
}

const DOT = 0x2e;

function isPlain(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) || // a-z
    (byte >= 0x41 && byte <= 0x5a) || // A-Z
    (byte >= 0x2f && byte <= 0x39) || // / and 0-9
    byte === 0x2d || // -
    byte === 0x5f // _
  );
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, "0");
}

/** Quotes a name for a message: escapes control characters and truncates long names. */
export function quote(text: string): string {
  const quoted = JSON.stringify(text.length <= 80 ? text : `${text.slice(0, 77)}...`);
  // JSON escapes the control characters below U+0020 only.
  return quoted.replace(
    LATE_CONTROL_CHARACTER,
    (character) => `\\u00${hex(character.charCodeAt(0)).toLowerCase()}`,
  );
}

/** The stored form of an API key: JSON, under the key's ID. */
import type { ApiKeyInfo, Scope } from "../service/principal.js";

export interface KeyRecord extends ApiKeyInfo {
  /** The hash of the secret. */
  readonly hash: string;
  /** The hash of the secret before the last rotation, valid until `previousExpiresAtMs`. */
  readonly previousHash: string | undefined;
}

export function encodeRecord(record: KeyRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record));
}

/** Throws if the record is malformed. */
export function decodeRecord(id: string, bytes: Uint8Array): KeyRecord {
  const record = { ...(JSON.parse(Buffer.from(bytes).toString()) as KeyRecord), id };
  const { name, scopes, createdAtMs, expiresAtMs, rotatedAtMs, previousExpiresAtMs, hash, previousHash } =
    record;
  const isValid =
    [name, hash].every(isText) &&
    isTime(createdAtMs) &&
    [expiresAtMs, rotatedAtMs, previousExpiresAtMs].every((time) => time === undefined || isTime(time)) &&
    (previousHash === undefined || isText(previousHash)) &&
    Array.isArray(scopes) &&
    scopes.every(isScope);
  if (!isValid) throw new TypeError("a stored API key is malformed");
  return record;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isTime(value: unknown): boolean {
  return Number.isSafeInteger(value);
}

function isScope({ accesses, buckets }: Partial<Scope>): boolean {
  return Array.isArray(accesses) && isText(buckets);
}

/** The public part of a key. */
export function infoOf(record: KeyRecord): ApiKeyInfo {
  const { id, name, scopes, createdAtMs, expiresAtMs, rotatedAtMs, previousExpiresAtMs } = record;
  return {
    id,
    name,
    scopes,
    createdAtMs,
    expiresAtMs,
    rotatedAtMs,
    previousExpiresAtMs: (previousExpiresAtMs ?? 0) > Date.now() ? previousExpiresAtMs : undefined,
  };
}

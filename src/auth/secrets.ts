/** Generates and hashes secrets, and reads them from requests. */
import { hash, randomBytes } from "node:crypto";

const KEY_PREFIX = "ifkey_";
const TICKET_PREFIX = "ifticket_";
const SECRET_BYTES = 20;
const ID_BYTES = 8;
const BEARER = /^Bearer +(\S+) *$/i;

/** A new API key. With 160 random bits, a fast hash is as safe as a slow one. */
export function newKeySecret(): string {
  return KEY_PREFIX + randomBytes(SECRET_BYTES).toString("hex");
}

export function newTicket(): string {
  return TICKET_PREFIX + randomBytes(SECRET_BYTES).toString("hex");
}

/** A new key's ID, which is not secret. */
export function newKeyId(): string {
  return randomBytes(ID_BYTES).toString("hex");
}

/** Whether the text has the form of a key's ID. */
export function isKeyId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text);
}

/** The stored form and lookup key of a secret: its SHA-256 in hexadecimal. */
export function hashOf(secret: string): string {
  return hash("sha256", secret, "hex");
}

/** The secret of an `Authorization` header (RFC 6750 section 2.1); undefined if there is none. */
export function bearerOf(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
}

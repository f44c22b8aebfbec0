/** Secrets: how they are made, what is kept of them, and where a call carries one. */
import { hash, randomBytes } from "node:crypto";

const KEY_PREFIX = "ifkey_";
const TICKET_PREFIX = "ifticket_";
const SECRET_BYTES = 20;
const ID_BYTES = 8;
const BEARER = /^Bearer +(\S+) *$/i;

/** A new API key: 160 random bits, so that a fast hash keeps it as well as a slow one would. */
export function newKeySecret(): string {
  return KEY_PREFIX + randomBytes(SECRET_BYTES).toString("hex");
}

export function newTicket(): string {
  return TICKET_PREFIX + randomBytes(SECRET_BYTES).toString("hex");
}

/** A new key's id: no secret. */
export function newKeyId(): string {
  return randomBytes(ID_BYTES).toString("hex");
}

/** Whether the text may be a key's id. */
export function isKeyId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text);
}

/** What is kept of a secret, and looked up by: its SHA-256 in hexadecimal. */
export function hashOf(secret: string): string {
  return hash("sha256", secret, "hex");
}

/** The secret of an `Authorization` header (RFC 6750 section 2.1); undefined where there is none. */
export function bearerOf(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
}

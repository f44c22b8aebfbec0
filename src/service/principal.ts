/** Who calls, and what they may do. `src/auth` knows; handlers, limits and logs ask. */
import { KvError } from "../kv/errors.js";
import type { CallScope, Page, PageRequest } from "../kv/store.js";
import type { CallInput } from "./calls.js";

/** What can be allowed on a bucket. `admin`: to create, change and delete it; on all buckets (`*`), also to manage API keys. */
export const ACCESSES = ["read", "write", "watch", "admin"] as const;
export type Access = (typeof ACCESSES)[number];

/** Some kinds of access to the buckets whose names match. */
export interface Scope {
  readonly accesses: readonly Access[];
  /** A bucket's name in which `*` stands for any run of characters. */
  readonly buckets: string;
}

/** Who calls. */
export interface Principal {
  /** The API key's id; {@link FIRST_KEY}; {@link ANONYMOUS}. No secret: limits count by it, and logs may show it. */
  readonly id: string;
  readonly scopes: readonly Scope[];
  /** Whether this kind of access to a bucket is allowed; `*`: to every bucket there is or will be. */
  may(access: Access, bucket: string): boolean;
  /** Whether any access to a bucket is allowed: who has none does not get to know that it exists. */
  sees(bucket: string): boolean;
  /** Calls the listener once when the caller's secret is good no more, at once if it is so already. Returns what takes it back. */
  onEnded(listener: () => void): () => void;
}

/** The id of IRONFLOW_API_KEY. */
export const FIRST_KEY = "admin";

/** The id of everyone where no API key is needed. */
export const ANONYMOUS = "anonymous";

/** Tells who calls. What it throws is the same for a key that is missing, unknown, revoked or expired. */
export interface AccessControl {
  /** Throws `unauthenticated`, and `unavailable` while the keys are not known. */
  callerOf(input: Pick<CallInput, "header" | "clientName">): Principal;
  /** Who was given the ticket for a watch of the bucket; it is used up. Throws as `callerOf`. */
  callerOfTicket(ticket: string, bucket: string, scope: CallScope): Promise<Principal>;
}

/** One sentence for a key that is missing, unknown, revoked or expired: which of these is nobody's business. */
export function unauthenticated(): KvError {
  return new KvError(
    "unauthenticated",
    "This service needs an API key that is good; send it as 'Authorization: Bearer <key>'.",
  );
}

/** An API key, without its secret. Times are milliseconds since 1970. */
export interface ApiKeyInfo {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAtMs: number;
  /** Undefined: never. */
  readonly expiresAtMs: number | undefined;
  /** Undefined: never. */
  readonly rotatedAtMs: number | undefined;
  /** Until when the secret before the last rotation is good; undefined: it is not. */
  readonly previousExpiresAtMs: number | undefined;
}

/** What a key is made with. */
export interface ApiKeySpec {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Milliseconds; 0: for ever. */
  readonly lifeMs: number;
}

/** A key with its secret, which is told only once. */
export interface NewSecret {
  readonly key: ApiKeyInfo;
  readonly secret: string;
}

/** The service's API keys. `caller` must be able to do what the key it changes can: otherwise `permission_denied`. */
export interface ApiKeys {
  /** Throws `invalid_argument`, `permission_denied`, `storage_exhausted`. */
  create(spec: ApiKeySpec, caller: Principal, scope: CallScope): Promise<NewSecret>;
  /** Throws `api_key_not_found`. */
  get(id: string): ApiKeyInfo;
  /** In the order of ids. */
  list(page: PageRequest): Page<ApiKeyInfo>;
  /** Throws `api_key_not_found`. */
  revoke(id: string, scope: CallScope): Promise<void>;
  /** A new secret; the one before is good for so many more milliseconds. Throws `api_key_not_found`. */
  rotate(id: string, overlapMs: number, caller: Principal, scope: CallScope): Promise<NewSecret>;
  /** A ticket for one watch of a bucket that `caller` may watch. */
  createTicket(
    bucket: string,
    caller: Principal,
    scope: CallScope,
  ): Promise<{ readonly ticket: string; readonly expiresAtMs: number }>;
}

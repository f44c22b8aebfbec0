/** The authenticated caller and its permissions: interfaces that `src/auth` implements, and handlers, limits and logs use. */
import { KvError } from "../kv/errors.js";
import type { CallContext } from "../kv/call-context.js";
import type { Page, PageRequest } from "../kv/reads.js";
import type { CallInput } from "./calls.js";

/** Permissions on a bucket. `admin`: create, update and delete it; on all buckets (`*`), also manage API keys. */
export const ACCESSES = ["read", "write", "watch", "admin"] as const;
export type Access = (typeof ACCESSES)[number];

/** Permissions on the buckets whose names match. */
export interface Scope {
  readonly accesses: readonly Access[];
  /** A bucket's name, qualified unless it is in the default environment. `*` matches zero or more characters of either part. */
  readonly buckets: string;
}

/** An authenticated caller. */
export interface Principal {
  /** The API key's ID, {@link FIRST_KEY} or {@link ANONYMOUS}. Not secret: limits count by it, and it appears in logs. */
  readonly id: string;
  readonly scopes: readonly Scope[];
  /** Whether the principal has this permission on a bucket; `*`: on all buckets of the default environment, including future ones. */
  may(access: Access, bucket: string): boolean;
  /** Whether the principal has any permission on a bucket, and may therefore know that it exists. */
  sees(bucket: string): boolean;
  /** Whether the principal's secret is still valid. */
  readonly isValid: boolean;
  /** Calls the listener once the principal's secret is no longer valid, which may be immediately. Returns a function that removes it. */
  onEnded(listener: () => void): () => void;
}

/** The ID of IRONFLOW_API_KEY. */
export const FIRST_KEY = "admin";

/** The ID of every caller while no API key is required. */
export const ANONYMOUS = "anonymous";

/** Authenticates calls. Throws the same error for a key that is missing, unknown, revoked or expired. */
export interface AccessControl {
  /** Throws `unauthenticated`, and `unavailable` while the keys are not loaded. */
  callerOf(input: Pick<CallInput, "header" | "clientName">): Principal;
  /** The principal that requested the ticket for a watch of the bucket. Consumes the ticket. Throws like `callerOf`. */
  callerOfTicket(ticket: string, bucket: string, context: CallContext): Promise<Principal>;
}

/** The same message for a key that is missing, unknown, revoked or expired: it must not disclose which. */
export function unauthenticated(): KvError {
  return new KvError("unauthenticated", "A valid API key is required: send 'Authorization: Bearer <key>'.");
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
  /** When the previous secret expires. Undefined: no previous secret is valid. */
  readonly previousExpiresAtMs: number | undefined;
}

/** The parameters of a new key. */
export interface ApiKeySpec {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** In milliseconds; 0: forever. */
  readonly lifetimeMs: number;
}

/** A key with its secret, which is returned only once. */
export interface NewSecret {
  readonly key: ApiKeyInfo;
  readonly secret: string;
}

/** Manages API keys. `caller` needs every permission of the key it creates or rotates, or gets `permission_denied`. */
export interface ApiKeys {
  /** Throws `invalid_argument`, `permission_denied`, `storage_exhausted`. */
  create(spec: ApiKeySpec, caller: Principal, context: CallContext): Promise<NewSecret>;
  /** Throws `api_key_not_found`. */
  get(id: string): ApiKeyInfo;
  /** Lists the keys, ordered by ID. */
  list(page: PageRequest): Page<ApiKeyInfo>;
  /** Throws `api_key_not_found`. */
  revoke(id: string, context: CallContext): Promise<void>;
  /** Replaces the secret. The previous one stays valid for `overlapMs`. Throws `api_key_not_found`. */
  rotate(id: string, overlapMs: number, caller: Principal, context: CallContext): Promise<NewSecret>;
  /** Creates a ticket for one watch of a bucket that `caller` may watch. */
  createTicket(
    bucket: string,
    caller: Principal,
    context: CallContext,
  ): Promise<{ readonly ticket: string; readonly expiresAtMs: number }>;
}

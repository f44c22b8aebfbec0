/**
 * The API keys in memory, by the hash of their secret. Every call looks up its key here, so lookups must be fast.
 *
 * Calls need no key until the first key is created, unless IRONFLOW_API_KEY is set. From then on every call needs one, even after the last
 * key was revoked or has expired: revoking a key must never open the service to everyone.
 */
import { KvError } from "../kv/errors.js";
import { type Principal, unauthenticated } from "../service/principal.js";
import type { CallInput } from "../service/calls.js";
import type { KeyRecord } from "./key-record.js";
import { adminPrincipal, anonymousPrincipal, SecretPrincipal } from "./secret-principal.js";
import { bearerOf, hashOf } from "./secrets.js";

/** Below the longest delay of Node's timers, about 24 days. */
const TIMER_MS_MAX = 86_400_000;

export class KeyRing {
  /** Whether the keys are loaded. Until then, only IRONFLOW_API_KEY is accepted. */
  isLoaded = false;
  private readonly records = new Map<string, KeyRecord>();
  /** By hash; at most two per key. */
  private readonly principals = new Map<string, SecretPrincipal>();
  private readonly admin: SecretPrincipal | undefined;
  private readonly anonymous = anonymousPrincipal();
  private isOpen: boolean;
  private expiryTimer: NodeJS.Timeout | undefined;
  /** When the timer next checks for expired secrets. */
  private nextExpiryMs = Infinity;

  /** `hasCertificateRules`: client certificates grant permissions, so all other callers need a key. */
  constructor(adminKey: string | undefined, hasCertificateRules = false) {
    this.admin = adminKey === undefined ? undefined : adminPrincipal(hashOf(adminKey));
    this.isOpen = adminKey === undefined && !hasCertificateRules;
  }

  /** Whether calls need no key. */
  get needsNoKey(): boolean {
    return this.isOpen && this.isLoaded;
  }

  /** See `AccessControl.callerOf`. */
  callerOf(input: Pick<CallInput, "header">): Principal {
    if (this.needsNoKey) return this.anonymous;
    const secret = bearerOf(input.header("authorization"));
    if (secret !== undefined) return this.callerOfHash(hashOf(secret));
    throw this.isOpen ? notLoaded() : unauthenticated();
  }

  /** The principal whose secret has this hash. Throws `unauthenticated`, `unavailable`. */
  callerOfHash(hash: string): Principal {
    if (this.needsNoKey) return this.anonymous;
    const given = Buffer.from(hash);
    if (this.admin?.hasHash(given) === true) return this.admin;
    if (!this.isLoaded) throw notLoaded();
    const principal = this.principals.get(hash);
    if (principal?.hasHash(given) !== true || principal.expiresAtMs <= Date.now()) throw unauthenticated();
    return principal;
  }

  get(id: string): KeyRecord | undefined {
    if (!this.isLoaded) throw notLoaded();
    return this.records.get(id);
  }

  /** The number of keys, including expired ones. */
  get size(): number {
    return this.records.size;
  }

  /** All keys, including expired ones, ordered by ID. */
  all(): readonly KeyRecord[] {
    if (!this.isLoaded) throw notLoaded();
    return [...this.records.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  /** Requires a key for every call from now on. Called when a key was created. */
  lock(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.anonymous.end();
  }

  /** Adds or replaces a key, and ends the principals of its former secrets. */
  set(record: KeyRecord): void {
    const before = this.records.get(record.id);
    this.records.set(record.id, record);
    const { hash, previousHash, previousExpiresAtMs, expiresAtMs = Infinity } = record;
    for (const old of hashesOf(before)) if (old !== hash && old !== previousHash) this.end(old);
    this.add(record, hash, expiresAtMs);
    if (previousHash !== undefined) {
      this.add(record, previousHash, Math.min(expiresAtMs, previousExpiresAtMs ?? 0));
    }
  }

  /** Removes a key and ends its principals. */
  delete(id: string): void {
    for (const hash of hashesOf(this.records.get(id))) this.end(hash);
    this.records.delete(id);
  }

  /** Removes all keys except these. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of [...this.records.keys()]) if (!ids.has(id)) this.delete(id);
  }

  close(): void {
    clearTimeout(this.expiryTimer);
  }

  private add(record: KeyRecord, hash: string, expiresAtMs: number): void {
    const known = this.principals.get(hash);
    // Keep the same object while the secret is valid: its open watches have listeners on it.
    if (known !== undefined) known.expiresAtMs = expiresAtMs;
    else this.principals.set(hash, new SecretPrincipal(record.id, record.scopes, hash, expiresAtMs));
    this.scheduleExpiry(expiresAtMs);
  }

  private end(hash: string): void {
    this.principals.get(hash)?.end();
    this.principals.delete(hash);
  }

  private scheduleExpiry(expiresAtMs: number): void {
    if (expiresAtMs >= this.nextExpiryMs) return;
    this.nextExpiryMs = expiresAtMs;
    clearTimeout(this.expiryTimer);
    const waitMs = Math.max(0, Math.min(expiresAtMs - Date.now(), TIMER_MS_MAX));
    this.expiryTimer = setTimeout(() => this.endExpired(), waitMs).unref();
  }

  /** Ends the principals of expired secrets, and schedules the next check. */
  private endExpired(): void {
    this.nextExpiryMs = Infinity;
    const nowMs = Date.now();
    for (const { hash, expiresAtMs } of [...this.principals.values()]) {
      if (expiresAtMs <= nowMs) this.end(hash);
      else this.scheduleExpiry(expiresAtMs);
    }
  }
}

function hashesOf(record: KeyRecord | undefined): string[] {
  return [record?.hash, record?.previousHash].filter((hash) => hash !== undefined);
}

function notLoaded(): KvError {
  return new KvError("unavailable", "The API keys are still being loaded; retry.");
}

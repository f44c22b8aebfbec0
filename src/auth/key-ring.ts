/**
 * The API keys in memory: who has which secret. Each call of the service asks here, so that it must not cost much.
 *
 * As long as no key was ever made, and IRONFLOW_API_KEY is not set, everyone may call. After that nobody may without a key, also when
 * the last one was revoked or has expired: taking a key back must never open the door to all.
 */
import { KvError } from "../kv/errors.js";
import { type Principal, unauthenticated } from "../service/principal.js";
import type { CallInput } from "../service/calls.js";
import type { KeyRecord } from "./key-record.js";
import { adminPrincipal, anonymousPrincipal, SecretPrincipal } from "./secret-principal.js";
import { bearerOf, hashOf } from "./secrets.js";

/** Timers of Node can't wait longer than some 24 days. */
const TIMER_MS_MAX = 86_400_000;

export class KeyRing {
  /** Whether the keys are known. While they are not, nobody gets in but with IRONFLOW_API_KEY. */
  isLoaded = false;
  private readonly records = new Map<string, KeyRecord>();
  /** By hash: at most two for each key. */
  private readonly callers = new Map<string, SecretPrincipal>();
  private readonly admin: SecretPrincipal | undefined;
  private readonly everyone = anonymousPrincipal();
  private isOpen: boolean;
  private expiryTimer: NodeJS.Timeout | undefined;
  /** When the timer looks for secrets whose time is up. */
  private nextExpiryMs = Infinity;

  /** `knowsCertificates`: some callers are known by their certificates, and all others need a key. */
  constructor(adminKey: string | undefined, knowsCertificates = false) {
    this.admin = adminKey === undefined ? undefined : adminPrincipal(hashOf(adminKey));
    this.isOpen = adminKey === undefined && !knowsCertificates;
  }

  /** Whether calls need no key. */
  get needsNoKey(): boolean {
    return this.isOpen && this.isLoaded;
  }

  /** See `AccessControl.callerOf`. */
  callerOf(input: Pick<CallInput, "header">): Principal {
    if (this.needsNoKey) return this.everyone;
    const secret = bearerOf(input.header("authorization"));
    if (secret !== undefined) return this.callerOfHash(hashOf(secret));
    throw this.isOpen ? notLoaded() : unauthenticated();
  }

  /** Who has the secret of this hash. Throws `unauthenticated`, `unavailable`. */
  callerOfHash(hash: string): Principal {
    if (this.needsNoKey) return this.everyone;
    const given = Buffer.from(hash);
    if (this.admin?.hasHash(given) === true) return this.admin;
    if (!this.isLoaded) throw notLoaded();
    const caller = this.callers.get(hash);
    if (caller?.hasHash(given) !== true || caller.expiresAtMs <= Date.now()) {
      throw unauthenticated();
    }
    return caller;
  }

  get(id: string): KeyRecord | undefined {
    if (!this.isLoaded) throw notLoaded();
    return this.records.get(id);
  }

  /** How many keys there are, expired ones too. */
  get size(): number {
    return this.records.size;
  }

  /** All keys, expired ones too, in the order of their ids. */
  all(): readonly KeyRecord[] {
    if (!this.isLoaded) throw notLoaded();
    return [...this.records.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  /** A key was ever made: from now on every call needs one. */
  lock(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.everyone.end();
  }

  /** Takes a key, or what became of it. Secrets that it no longer has end. */
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

  /** The key is gone: its secrets end. */
  delete(id: string): void {
    for (const hash of hashesOf(this.records.get(id))) this.end(hash);
    this.records.delete(id);
  }

  /** Forgets all keys but these. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of [...this.records.keys()]) if (!ids.has(id)) this.delete(id);
  }

  close(): void {
    clearTimeout(this.expiryTimer);
  }

  private add(record: KeyRecord, hash: string, expiresAtMs: number): void {
    const known = this.callers.get(hash);
    // The same object for as long as the secret is good: what the caller has open hangs on it.
    if (known !== undefined) known.expiresAtMs = expiresAtMs;
    else this.callers.set(hash, new SecretPrincipal(record.id, record.scopes, hash, expiresAtMs));
    this.expectExpiry(expiresAtMs);
  }

  private end(hash: string): void {
    this.callers.get(hash)?.end();
    this.callers.delete(hash);
  }

  private expectExpiry(expiresAtMs: number): void {
    if (expiresAtMs >= this.nextExpiryMs) return;
    this.nextExpiryMs = expiresAtMs;
    clearTimeout(this.expiryTimer);
    const waitMs = Math.max(0, Math.min(expiresAtMs - Date.now(), TIMER_MS_MAX));
    this.expiryTimer = setTimeout(() => this.endExpired(), waitMs).unref();
  }

  /** Ends the secrets whose time is up, and comes back for the next one. */
  private endExpired(): void {
    this.nextExpiryMs = Infinity;
    const nowMs = Date.now();
    for (const { hash, expiresAtMs } of [...this.callers.values()]) {
      if (expiresAtMs <= nowMs) this.end(hash);
      else this.expectExpiry(expiresAtMs);
    }
  }
}

function hashesOf(record: KeyRecord | undefined): string[] {
  return [record?.hash, record?.previousHash].filter((hash) => hash !== undefined);
}

function notLoaded(): KvError {
  return new KvError("unavailable", "The API keys are being loaded. Try again.");
}

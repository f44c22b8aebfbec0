/** The principal of a secret: an API key, IRONFLOW_API_KEY, or anonymous. */
import { timingSafeEqual } from "node:crypto";
import { type Access, ANONYMOUS, type Principal, FIRST_KEY, type Scope } from "../service/principal.js";
import { ALL_SCOPES, allows, allowsAny } from "./scopes.js";

export class SecretPrincipal implements Principal {
  private readonly hashBytes: Buffer;
  private readonly listeners = new Set<() => void>();
  private hasEnded = false;

  constructor(
    readonly id: string,
    readonly scopes: readonly Scope[],
    /** The hash of the secret; empty: no secret. */
    readonly hash: string,
    /** Milliseconds since 1970; Infinity: never. */
    public expiresAtMs: number = Infinity,
  ) {
    this.hashBytes = Buffer.from(hash);
  }

  /** Compares a hash with that of the secret in constant time. */
  hasHash(given: Buffer): boolean {
    return given.length === this.hashBytes.length && timingSafeEqual(given, this.hashBytes);
  }

  may(access: Access, bucket: string): boolean {
    return this.scopes === ALL_SCOPES || allows(this.scopes, access, bucket);
  }

  sees(bucket: string): boolean {
    return this.scopes === ALL_SCOPES || allowsAny(this.scopes, bucket);
  }

  get isValid(): boolean {
    return !this.hasEnded && this.expiresAtMs > Date.now();
  }

  onEnded(listener: () => void): () => void {
    if (this.hasEnded) listener();
    else this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Ends the principal's watches. Called when the secret is no longer valid. */
  end(): void {
    this.hasEnded = true;
    for (const listener of this.listeners) listener();
    this.listeners.clear();
  }
}

/** The principal of IRONFLOW_API_KEY, by its hash. */
export function adminPrincipal(hash: string): SecretPrincipal {
  return new SecretPrincipal(FIRST_KEY, ALL_SCOPES, hash);
}

/** The principal of every caller while no key is required. */
export function anonymousPrincipal(): SecretPrincipal {
  return new SecretPrincipal(ANONYMOUS, ALL_SCOPES, "");
}

/** The hash of the caller's secret; empty: none. */
export function hashOfCaller(caller: Principal): string {
  return caller instanceof SecretPrincipal ? caller.hash : "";
}

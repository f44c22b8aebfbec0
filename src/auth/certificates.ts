/** Authenticates callers by verified client certificates, with the permissions of TLS_CLIENT_SCOPES. */
import { matchGlob } from "../kv/filter.js";
import { ACCESSES, type Principal, type Scope } from "../service/principal.js";
import type { CallInput } from "../service/calls.js";
import { SecretPrincipal } from "./secret-principal.js";

/** Grants a scope to client certificates. */
export interface CertificateRule {
  /** The certificate's common name, in which `*` matches zero or more characters. */
  readonly name: string;
  readonly scope: Scope;
}

/** The most names whose principal is cached. */
const NAMES_MAX = 10_000;

/** Parses `name=access,...:buckets; ...`, one rule per entry. Throws Error with the end of the sentence "NAME is VALUE; ...". */
export function parseCertificateRules(text: string): readonly CertificateRule[] {
  return text.split(";").map((entry) => {
    const [, name = "", given = "", buckets = ""] =
      /^\s*([^=]+)=([a-z,]+):((?:[A-Za-z0-9*-]+\/)?[A-Za-z0-9_*-]+)\s*$/.exec(entry) ?? [];
    const accesses = ACCESSES.filter((access) => given.split(",").includes(access));
    if (accesses.length === 0 || accesses.length !== given.split(",").length) {
      throw new Error("it must be entries such as orders-*=read,write:orders-*, separated by semicolons.");
    }
    return { name, scope: { accesses, buckets } };
  });
}

export class CertificatePrincipals {
  private readonly principals = new Map<string, Principal | undefined>();

  constructor(private readonly rules: readonly CertificateRule[]) {}

  /** Returns the same principal for the same name; undefined if there is no certificate or no rule for it. */
  callerOf({ clientName: name }: Pick<CallInput, "clientName">): Principal | undefined {
    if (name === undefined) return undefined;
    if (!this.principals.has(name)) {
      if (this.principals.size >= NAMES_MAX) this.principals.clear();
      this.principals.set(name, this.createPrincipal(name));
    }
    return this.principals.get(name);
  }

  private createPrincipal(name: string): Principal | undefined {
    const scopes = this.rules.filter((rule) => matches(rule.name, name)).map(({ scope }) => scope);
    // The colon distinguishes it from an API key's ID.
    return scopes.length === 0 ? undefined : new SecretPrincipal(`certificate:${name}`, scopes, "");
  }
}

function matches(glob: string, name: string): boolean {
  const pieces = glob.split("*");
  return pieces.length === 1 ? glob === name : matchGlob(pieces, name);
}

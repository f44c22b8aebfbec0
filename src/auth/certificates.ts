/** Callers known by a client certificate that the listener verified: TLS_CLIENT_SCOPES says what each may do. */
import { matchGlob } from "../kv/filter.js";
import { ACCESSES, type Principal, type Scope } from "../service/principal.js";
import type { CallInput } from "../service/calls.js";
import { SecretPrincipal } from "./secret-principal.js";

/** What the holders of certificates may do. */
export interface CertificateRule {
  /** The certificate's common name, in which `*` stands for any run of characters. */
  readonly name: string;
  readonly scope: Scope;
}

/** The most names that are remembered. */
const NAMES_MAX = 10_000;

/** One rule for each entry of `name=access,...:buckets; ...`. Throws Error with the rest of the sentence "NAME is VALUE; ...". */
export function parseCertificateRules(text: string): readonly CertificateRule[] {
  return text.split(";").map((entry) => {
    const [, name = "", given = "", buckets = ""] =
      /^\s*([^=]+)=([a-z,]+):([A-Za-z0-9_*-]+)\s*$/.exec(entry) ?? [];
    const accesses = ACCESSES.filter((access) => given.split(",").includes(access));
    if (accesses.length === 0 || accesses.length !== given.split(",").length) {
      throw new Error(
        "it takes entries such as orders-*=read,write:orders-*, with a semicolon between them.",
      );
    }
    return { name, scope: { accesses, buckets } };
  });
}

export class CertificatePrincipals {
  private readonly callers = new Map<string, Principal | undefined>();

  constructor(private readonly rules: readonly CertificateRule[]) {}

  /** The same caller for the same name; undefined where there is no certificate, or no rule for it. */
  callerOf({ clientName: name }: Pick<CallInput, "clientName">): Principal | undefined {
    if (name === undefined) return undefined;
    if (!this.callers.has(name)) {
      if (this.callers.size >= NAMES_MAX) this.callers.clear();
      this.callers.set(name, this.makeCaller(name));
    }
    return this.callers.get(name);
  }

  private makeCaller(name: string): Principal | undefined {
    const scopes = this.rules.filter((rule) => matches(rule.name, name)).map(({ scope }) => scope);
    // Not to be taken for the id of a key, which has no colon.
    return scopes.length === 0 ? undefined : new SecretPrincipal(`certificate:${name}`, scopes, "");
  }
}

function matches(glob: string, name: string): boolean {
  const pieces = glob.split("*");
  return pieces.length === 1 ? glob === name : matchGlob(pieces, name);
}

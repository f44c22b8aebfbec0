/** An operator with an account and users, made on the spot: what `nsc` makes, for tests of credentials files (ADR-14, JWT version 2). */
import { createAccount, createOperator, createUser, type KeyPair } from "@nats-io/nkeys";

export interface TestOperator {
  /** The configuration of a server that trusts it. */
  readonly config: string;
  /** The text of a credentials file for a new user. */
  credentials(name?: string): string;
  /** The public key of the newest user. */
  lastUser(): string;
}

const UNLIMITED = { subs: -1, data: -1, payload: -1 };
const ACCOUNT_LIMITS = { ...UNLIMITED, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
const JETSTREAM_LIMITS = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

export function makeOperator(): TestOperator {
  const operator = createOperator();
  const system = createAccount();
  const account = createAccount();
  const operatorJwt = sign(operator, operator, "operator", { type: "operator", version: 2 });
  const accountJwt = (of: KeyPair, limits: object): string =>
    sign(of, operator, "account", { type: "account", version: 2, limits });
  let lastUser = "";
  return {
    config: `operator: "${operatorJwt}"
system_account: "${system.getPublicKey()}"
resolver: MEMORY
resolver_preload: {
  ${system.getPublicKey()}: "${accountJwt(system, ACCOUNT_LIMITS)}"
  ${account.getPublicKey()}: "${accountJwt(account, { ...ACCOUNT_LIMITS, ...JETSTREAM_LIMITS })}"
}`,
    credentials: (name = "user") => {
      const user = createUser();
      lastUser = user.getPublicKey();
      const jwt = sign(user, account, name, { type: "user", version: 2, ...UNLIMITED });
      const seed = new TextDecoder().decode(user.getSeed());
      return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`;
    },
    lastUser: () => lastUser,
  };
}

function sign(subject: KeyPair, issuer: KeyPair, name: string, nats: object): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = {
    jti: name,
    iat: 1,
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name,
    nats,
  };
  const signed = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode(claims)}`;
  const signature = Buffer.from(issuer.sign(new TextEncoder().encode(signed))).toString("base64url");
  return `${signed}.${signature}`;
}

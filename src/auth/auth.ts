/** Assembles authentication: API keys, watch tickets and access control. */
import type { Limits } from "../kv/limits.js";
import type { BucketConfig } from "../kv/bucket.js";
import type { SystemBucket } from "../kv/store.js";
import type { AccessControl, ApiKeys } from "../service/principal.js";
import { CertificatePrincipals, type CertificateRule } from "./certificates.js";
import { type AuthLog, KeyFollower } from "./key-follower.js";
import { KeyRing } from "./key-ring.js";
import { StoredApiKeys } from "./stored-api-keys.js";
import { WatchTickets } from "./watch-tickets.js";

export interface AuthOptions {
  /** Opens one of the service's system buckets. */
  readonly bucket: (config: BucketConfig) => SystemBucket;
  /** IRONFLOW_API_KEY; undefined: not set. */
  readonly adminKey: string | undefined;
  /** The permissions of client certificates. Undefined: certificates grant none. */
  readonly certificateRules?: readonly CertificateRule[] | undefined;
  readonly limits: Limits;
  readonly log: AuthLog;
}

export interface Auth {
  readonly access: AccessControl;
  readonly keys: ApiKeys;
  /** Whether calls need no key: no key was ever created, and IRONFLOW_API_KEY is not set. */
  readonly needsNoKey: boolean;
  /** Stops following the keys. */
  close(): void;
}

const KEYS_BUCKET: BucketConfig = { name: "api_keys", description: "API keys of ironflow-kv, by id" };
const TICKETS_BUCKET: BucketConfig = {
  name: "watch_tickets",
  description: "Tickets for watches, by hash",
  // The longest WATCH_TICKET_MS: removes unused tickets.
  ttlMs: 3_600_000,
};

/** Loads the keys and keeps them current. Rejects if they can't be loaded. */
export async function startAuth(options: AuthOptions): Promise<Auth> {
  const { limits, certificateRules } = options;
  const certificates =
    certificateRules === undefined ? undefined : new CertificatePrincipals(certificateRules);
  const ring = new KeyRing(options.adminKey, certificates !== undefined);
  const bucket = options.bucket(KEYS_BUCKET);
  const follower = new KeyFollower(bucket, ring, options.log);
  const tickets = new WatchTickets(options.bucket(TICKETS_BUCKET), ring, limits.watchTicketMs);
  const close = (): void => {
    follower.close();
    ring.close();
  };
  try {
    await follower.start();
  } catch (error) {
    close();
    throw error;
  }
  return {
    access: {
      // An explicit key takes precedence over the connection's certificate.
      callerOf: (input) =>
        (input.header("authorization") === undefined ? certificates?.callerOf(input) : undefined) ??
        ring.callerOf(input),
      callerOfTicket: (ticket, watched, context) => tickets.use(ticket, watched, context),
    },
    keys: new StoredApiKeys({ bucket, ring, follower, tickets, limits }),
    get needsNoKey() {
      return ring.needsNoKey;
    },
    close,
  };
}

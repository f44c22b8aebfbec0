/**
 * Tickets for one watch each. A ticket is stored by its hash with the bucket it is for and the hash of the secret that asked for it; who
 * removes it from the storage has used it, so that no two copies of the service can take the same one.
 */
import { KvError } from "../kv/errors.js";
import type { CallScope, SystemBucket } from "../kv/store.js";
import { ANONYMOUS, type Principal, unauthenticated } from "../service/principal.js";
import type { KeyRing } from "./key-ring.js";
import { hashOfCaller } from "./secret-principal.js";
import { hashOf, newTicket } from "./secrets.js";

interface StoredTicket {
  readonly bucket: string;
  readonly callerHash: string;
  readonly expiresAtMs: number;
}

export class WatchTickets {
  private hasBucket = false;

  constructor(
    private readonly bucket: SystemBucket,
    private readonly ring: KeyRing,
    private readonly lifeMs: number,
  ) {}

  async create(
    bucket: string,
    caller: Principal,
    scope: CallScope,
  ): Promise<{ readonly ticket: string; readonly expiresAtMs: number }> {
    const callerHash = hashOfCaller(caller);
    if (callerHash === "" && caller.id !== ANONYMOUS) {
      throw new KvError(
        "permission_denied",
        "A ticket stands for an API key; this caller has a certificate.",
      );
    }
    await this.ensureBucket(scope);
    const ticket = newTicket();
    const expiresAtMs = Date.now() + this.lifeMs;
    const stored: StoredTicket = { bucket, callerHash, expiresAtMs };
    await this.bucket.put(hashOf(ticket), Buffer.from(JSON.stringify(stored)), "if_absent", scope);
    return { ticket, expiresAtMs };
  }

  /** Who was given the ticket for this bucket; it is used up. Throws `unauthenticated` for any that is not good. */
  async use(ticket: string, bucket: string, scope: CallScope): Promise<Principal> {
    const hash = hashOf(ticket);
    try {
      const { value, revision } = await this.bucket.get(hash, scope);
      const stored = JSON.parse(Buffer.from(value).toString()) as StoredTicket;
      if (stored.bucket !== bucket || stored.expiresAtMs <= Date.now()) throw unauthenticated();
      await this.bucket.remove(hash, { ifRevision: revision }, scope);
      return this.ring.callerOfHash(stored.callerHash);
    } catch (error) {
      throw error instanceof KvError && USED_UP.has(error.kind) ? unauthenticated() : error;
    }
  }

  /** Made for the first ticket: most services never see one. */
  private async ensureBucket(scope: CallScope): Promise<void> {
    if (this.hasBucket) return;
    await this.bucket.ensure(scope);
    this.hasBucket = true;
  }
}

/** How it shows that there is no such ticket, that another call took it first, or that this may have been so. */
const USED_UP: ReadonlySet<string> = new Set([
  "bucket_not_found",
  "key_not_found",
  "revision_mismatch",
  "outcome_unknown",
]);

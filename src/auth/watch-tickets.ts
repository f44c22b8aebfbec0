/**
 * Single-use tickets for watches. A ticket is stored under its hash, with its bucket and the hash of the secret that requested it. Removing
 * it from the storage consumes it, so two instances of the service can't both accept it.
 */
import { KvError } from "../kv/errors.js";
import type { CallContext } from "../kv/call-context.js";
import type { SystemBucket } from "../kv/store.js";
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
    private readonly lifetimeMs: number,
  ) {}

  async create(
    bucket: string,
    caller: Principal,
    context: CallContext,
  ): Promise<{ readonly ticket: string; readonly expiresAtMs: number }> {
    const callerHash = hashOfCaller(caller);
    if (callerHash === "" && caller.id !== ANONYMOUS) {
      throw new KvError(
        "permission_denied",
        "This caller is authenticated by a certificate; to create a ticket, send an API key.",
      );
    }
    await this.ensureBucket(context);
    const ticket = newTicket();
    const expiresAtMs = Date.now() + this.lifetimeMs;
    const stored: StoredTicket = { bucket, callerHash, expiresAtMs };
    await this.bucket.put(hashOf(ticket), Buffer.from(JSON.stringify(stored)), "if_absent", context);
    return { ticket, expiresAtMs };
  }

  /** Consumes a ticket for this bucket and returns the principal that requested it. Throws `unauthenticated` if the ticket is not valid. */
  async use(ticket: string, bucket: string, context: CallContext): Promise<Principal> {
    const hash = hashOf(ticket);
    try {
      const { value, revision } = await this.bucket.get(hash, context);
      const stored = JSON.parse(Buffer.from(value).toString()) as StoredTicket;
      if (stored.bucket !== bucket || stored.expiresAtMs <= Date.now()) throw unauthenticated();
      await this.bucket.remove(hash, { ifRevision: revision }, context);
      return this.ring.callerOfHash(stored.callerHash);
    } catch (error) {
      throw error instanceof KvError && INVALID_TICKET_KINDS.has(error.kind) ? unauthenticated() : error;
    }
  }

  /** Creates the bucket with the first ticket, because most services never need it. */
  private async ensureBucket(context: CallContext): Promise<void> {
    if (this.hasBucket) return;
    await this.bucket.ensure(context);
    this.hasBucket = true;
  }
}

/** The errors that mean that the ticket does not exist, or that another call has or may have consumed it. */
const INVALID_TICKET_KINDS: ReadonlySet<string> = new Set([
  "bucket_not_found",
  "key_not_found",
  "revision_mismatch",
  "outcome_unknown",
]);

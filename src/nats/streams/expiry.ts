/**
 * Decides whether stored messages have expired. The storage removes them on a timer, after a restart up to some seconds late, so reads
 * check the age themselves.
 */
import type { CallContext } from "../../kv/call-context.js";
import type { CachedBucket, BucketConfigCache } from "./bucket-config-cache.js";
import type { Place, StoredMessage } from "../client/message-reader.js";
import { expiresAtMs } from "./lifetime.js";
import { operationOf } from "./records.js";

/** Detects expired messages that the storage has not removed yet. */
export class Expiry {
  constructor(private readonly facts: BucketConfigCache) {}

  /** Whether a message is an expired value. Reads the bucket's configuration only if it is not cached, or to confirm an expiry. */
  hasExpired(place: Place, message: StoredMessage, context: CallContext): false | Promise<boolean> {
    const known = this.facts.latest(place);
    if (known !== undefined && !isOver(message, known)) return false;
    // The cached configuration may be that of an earlier bucket with this name.
    return this.facts.read(place, context).then((facts) => isOver(message, facts));
  }

  /** The message, unless it is an expired value. */
  async unlessExpired(
    place: Place,
    message: StoredMessage | undefined,
    context: CallContext,
  ): Promise<StoredMessage | undefined> {
    if (message === undefined) return undefined;
    const expired = this.hasExpired(place, message, context);
    return expired !== false && (await expired) ? undefined : message;
  }
}

function isOver({ headers, timeMs }: StoredMessage, { ageMsMax, clockAheadMs }: CachedBucket): boolean {
  const endMs = expiresAtMs(headers, timeMs, ageMsMax);
  return endMs !== Infinity && Date.now() + clockAheadMs >= endMs && operationOf(headers) === "put";
}

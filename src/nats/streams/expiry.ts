/**
 * Decides whether stored messages have expired. The storage removes them on a timer, after a restart up to some seconds late, so reads
 * check the age themselves.
 */
import type { CallContext } from "../../kv/store.js";
import type { CachedBucket, BucketConfigCache } from "./bucket-config-cache.js";
import type { HeaderLookup } from "../client/messages.js";
import type { Place, StoredMessage } from "../client/message-reader.js";
import { operationOf } from "./records.js";

/** The per-message TTL header (ADR-43): seconds, a Go duration, or `never`. */
export const LIFETIME_HEADER = "Nats-TTL";

const SECOND_MS = 1_000;
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: 60 * SECOND_MS,
  h: 3_600 * SECOND_MS,
};
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;

/** When a message expires, in milliseconds since 1970 by the storage's clock; Infinity: never. `ageMsMax`: the bucket's TTL; 0: none. */
export function expiresAtMs(headers: HeaderLookup | undefined, timeMs: number, ageMsMax: number): number {
  return endOfLifetimeMs(headers?.get(LIFETIME_HEADER) ?? "", timeMs, ageMsMax);
}

/** The same for a message whose lifetime header is known. */
export function endOfLifetimeMs(lifetime: string, timeMs: number, ageMsMax: number): number {
  const byAge = ageMsMax > 0 ? timeMs + ageMsMax : Infinity;
  if (lifetime === "") return byAge;
  // `never` also overrides the bucket's TTL.
  if (lifetime === "never" || lifetime === "-1") return Infinity;
  const lifetimeMs = durationMs(lifetime);
  return lifetimeMs > 0 ? Math.min(byAge, timeMs + lifetimeMs) : byAge;
}

function durationMs(text: string): number {
  if (/^\d+$/.test(text)) return Number(text) * SECOND_MS;
  let sumMs = 0;
  for (const [, amount, unit = ""] of text.matchAll(DURATION_PART))
    sumMs += Number(amount) * (UNIT_MS[unit] ?? 0);
  return sumMs;
}

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

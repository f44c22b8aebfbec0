/** The lifetime of a message: its own TTL, which a header has, and the age at which its stream removes it. */
import type { HeaderLookup } from "../client/messages.js";

/** The per-message TTL header (ADR-43): seconds, a Go duration, or `never`. */
export const LIFETIME_HEADER = "Nats-TTL";

/** The end of the year 9999, the latest time that a timestamp of the contract may have. */
const TIMESTAMP_MS_MAX = 253_402_300_799_999;
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

/** When a message expires by its own lifetime, in milliseconds since 1970; undefined: it has none. */
export function ownExpiryMs(headers: HeaderLookup | undefined, timeMs: number): number | undefined {
  const lifetime = headers?.get(LIFETIME_HEADER) ?? "";
  if (lifetime === "") return undefined;
  const endMs = Math.floor(endOfLifetimeMs(lifetime, timeMs, 0));
  return endMs > TIMESTAMP_MS_MAX ? undefined : endMs;
}

function durationMs(text: string): number {
  if (/^\d+$/.test(text)) return Number(text) * SECOND_MS;
  let sumMs = 0;
  for (const [, amount, unit = ""] of text.matchAll(DURATION_PART))
    sumMs += Number(amount) * (UNIT_MS[unit] ?? 0);
  return sumMs;
}

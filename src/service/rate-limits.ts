/** How many calls per second one caller may make: a bucket of tokens for each API key, and for each address where no key is needed. */
import { isIPv4, isIPv6 } from "node:net";
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { ANONYMOUS, type Principal } from "./principal.js";
import type { CallInput } from "./calls.js";

/** The most callers that are remembered; the one that has not called for longest is forgotten first. */
const CALLERS_MAX = 10_000;

/** Counts the calls of each caller. Only to be made where `callsPerSecondMax` is not 0. */
export class CallRates {
  /** By key or address; the most recent callers stand last. */
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(private readonly limits: Pick<Limits, "callsPerSecondMax">) {}

  /** Counts a call, or throws `rate_limited`. */
  take(caller: Pick<Principal, "id">, input: Pick<CallInput, "remoteAddress">): void {
    const { callsPerSecondMax } = this.limits;
    const isAnonymous = caller.id === ANONYMOUS;
    const name = isAnonymous ? networkOf(input.remoteAddress ?? "") : caller.id;
    const bucket = this.buckets.get(name) ?? new TokenBucket(callsPerSecondMax);
    this.buckets.delete(name);
    this.buckets.set(name, bucket);
    if (this.buckets.size > CALLERS_MAX) this.forgetOldest();
    const waitMs = bucket.take(performance.now());
    if (waitMs === 0) return;
    throw new KvError(
      "rate_limited",
      `This ${isAnonymous ? "address" : "API key"} makes more than ${callsPerSecondMax} calls per second; wait before the next.`,
      { retryAfterMs: waitMs },
    );
  }

  private forgetOldest(): void {
    const [oldest] = this.buckets.keys();
    if (oldest !== undefined) this.buckets.delete(oldest);
  }
}

/** Holds the tokens of one second; each call takes one. */
class TokenBucket {
  private tokens: number;
  private filledMs = performance.now();

  constructor(private readonly perSecond: number) {
    this.tokens = perSecond;
  }

  /** Takes one, or says in how many milliseconds there will be one. */
  take(nowMs: number): number {
    const gained = ((nowMs - this.filledMs) / 1_000) * this.perSecond;
    this.tokens = Math.min(this.perSecond, this.tokens + gained);
    this.filledMs = nowMs;
    if (this.tokens >= 1) {
      this.tokens--;
      return 0;
    }
    return Math.ceil(((1 - this.tokens) / this.perSecond) * 1_000);
  }
}

/**
 * What counts as one address: of IPv6 the first 64 bits, since whoever has one address there has all the others of its network
 * (RFC 4291 section 2.5.4). An IPv4 address in the form of an IPv6 one is that IPv4 address.
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const ipv4 = address.slice(address.lastIndexOf(":") + 1);
  if (isIPv4(ipv4)) return ipv4;
  const [front = "", back] = address.split("%", 1)[0]?.split("::") ?? [];
  const groups = front === "" ? [] : front.split(":");
  const after = back === undefined || back === "" ? [] : back.split(":");
  while (groups.length + after.length < 8) groups.push("0");
  return [...groups, ...after].slice(0, 4).join(":");
}

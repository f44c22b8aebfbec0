/** Limits calls per second: one token bucket per API key, or per client address for anonymous callers. */
import { isIPv4, isIPv6 } from "node:net";
import { KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { ANONYMOUS, type Principal } from "./principal.js";
import type { CallInput } from "./calls.js";

/** The most token buckets; the least recently used one is evicted. */
const TOKEN_BUCKETS_MAX = 10_000;

/** Create only if `callsPerSecondMax` is not 0. */
export class CallRateLimiter {
  /** By API key or client network, the most recently used last. */
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
    if (this.buckets.size > TOKEN_BUCKETS_MAX) this.evictOldest();
    const waitMs = bucket.take(performance.now());
    if (waitMs === 0) return;
    throw new KvError(
      "rate_limited",
      `This ${isAnonymous ? "address" : "API key"} made more than ${callsPerSecondMax} calls per second; retry after ${waitMs} milliseconds.`,
      { retryAfterMs: waitMs },
    );
  }

  private evictOldest(): void {
    const [oldest] = this.buckets.keys();
    if (oldest !== undefined) this.buckets.delete(oldest);
  }
}

/** Token bucket: a burst of one second's tokens, refilled at the same rate. */
class TokenBucket {
  private tokens: number;
  private filledMs = performance.now();

  constructor(private readonly perSecond: number) {
    this.tokens = perSecond;
  }

  /** Takes a token and returns 0, or returns the milliseconds until one is available. */
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
 * The network that counts as one client address. For IPv6 the first 64 bits, because a host controls all addresses of its /64
 * (RFC 4291 section 2.5.4). An IPv4-mapped IPv6 address counts as the IPv4 address.
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

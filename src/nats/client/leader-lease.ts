/**
 * Leader leases, for linearizable reads on a cluster.
 *
 * A partitioned leader keeps answering for about ten seconds. Meanwhile its followers may elect another leader, which accepts writes, so
 * reads from the old leader are stale. But followers start an election only after they have not heard from their leader for at least four
 * seconds (nats-server's raft), and they answer its heartbeat every second. So a response of the leader is current if the leader has
 * recently heard from enough followers to form a majority. The stream's info says when it last heard from each.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { CallContext } from "../../kv/call-context.js";
import { toKvError, unavailable } from "./errors.js";
import { LEADER_ANSWER_TIMEOUT_MS, type StreamInfo, streamInfo } from "./jetstream-api.js";
import type { Place } from "./message-reader.js";
import type { Requests } from "./requests.js";

/** Well below four seconds, and longer than the time between two heartbeats, even of a busy server. */
const LEASE_MS = 2_000;
const NANOS_PER_MS = 1_000_000;
const RETRY_WAIT_MS = 50;
const STREAMS_MAX = 10_000;

export class LeaderLease {
  /** When the lease of each stream's leader expires, in milliseconds of `performance.now()`. */
  private readonly expiresAtMsByStream = new Map<string, number>();

  constructor(private readonly requests: Requests) {}

  /** When the leader's lease expires; renews an expired one. Throws `KvError`: `unavailable` if the leader may have been replaced. */
  async expiresAtMs(place: Place, context: CallContext): Promise<number> {
    const knownMs = this.expiresAtMsByStream.get(place.stream) ?? 0;
    if (performance.now() < knownMs) return knownMs;
    await this.info(place, context);
    return this.expiresAtMsByStream.get(place.stream) ?? 0;
  }

  /** The stream's info from a leader with a valid lease. Throws like {@link expiresAtMs}. */
  async info(place: Place, context: CallContext): Promise<StreamInfo> {
    const giveUpMs = performance.now() + LEADER_ANSWER_TIMEOUT_MS;
    for (;;) {
      const sentMs = performance.now();
      const info = await streamInfo(this.requests, place.stream, context).catch((error: unknown) => {
        throw toKvError(error, { bucket: place.bucket });
      });
      const expiresAtMs = sentMs + LEASE_MS - majorityAgeMs(info);
      if (performance.now() < expiresAtMs) {
        if (this.expiresAtMsByStream.size >= STREAMS_MAX) this.expiresAtMsByStream.clear();
        this.expiresAtMsByStream.set(place.stream, expiresAtMs);
        return info;
      }
      if (performance.now() >= Math.min(giveUpMs, context.deadlineMs))
        throw unavailable({ bucket: place.bucket });
      await delay(RETRY_WAIT_MS);
    }
  }
}

/** How long ago the leader last heard from a majority, which includes itself, in milliseconds. */
function majorityAgeMs({ config, cluster }: StreamInfo): number {
  const needed = Math.floor((config.num_replicas ?? 1) / 2);
  if (needed === 0) return 0;
  if (!cluster?.leader) return Infinity;
  const ages = (cluster.replicas ?? []).map(({ active }) => active / NANOS_PER_MS).sort((a, b) => a - b);
  return ages[needed - 1] ?? Infinity;
}

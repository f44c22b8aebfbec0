/**
 * Whether the leader that answers is still the only one, on a cluster.
 *
 * A leader that is cut off from its followers goes on answering for some ten seconds. These elect another one meanwhile, which takes
 * writes: what the old one reads is stale. But followers do so only when they have not heard of their leader for four seconds or more
 * (nats-server's raft), and say so when it asks them next, which it does every second. So an answer is good for as long as the leader has
 * lately heard of as many followers as make a majority with it, which it tells with the stream's description.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { CallScope } from "../../kv/store.js";
import { toKvError, unavailable } from "./errors.js";
import { LEADER_ANSWER_TIMEOUT_MS, type StreamInfo, streamInfo } from "./jetstream-api.js";
import type { Place } from "./message-reader.js";
import type { Requests } from "./requests.js";

/** Well under the four seconds, and more than what passes between two heartbeats, also of a busy server. */
const GOOD_FOR_MS = 2_000;
const NANOS_PER_MS = 1_000_000;
const RETRY_WAIT_MS = 50;
const STREAMS_MAX = 10_000;

export class Leadership {
  /** Until when the leader of a stream is known to be the only one, in milliseconds of `performance.now()`. */
  private readonly untilMs = new Map<string, number>();

  constructor(private readonly requests: Requests) {}

  /** Until when answers of the leader are good. Throws `KvError`; `unavailable` where it may have been replaced. */
  async goodUntilMs(place: Place, scope: CallScope): Promise<number> {
    const knownMs = this.untilMs.get(place.stream) ?? 0;
    if (performance.now() < knownMs) return knownMs;
    await this.info(place, scope);
    return this.untilMs.get(place.stream) ?? 0;
  }

  /** The stream, as the only leader describes it. Throws as {@link goodUntilMs}. */
  async info(place: Place, scope: CallScope): Promise<StreamInfo> {
    const giveUpMs = performance.now() + LEADER_ANSWER_TIMEOUT_MS;
    for (;;) {
      const askedMs = performance.now();
      const info = await streamInfo(this.requests, place.stream, scope).catch((error: unknown) => {
        throw toKvError(error, { bucket: place.bucket });
      });
      const untilMs = askedMs + GOOD_FOR_MS - silenceMs(info);
      if (performance.now() < untilMs) {
        if (this.untilMs.size >= STREAMS_MAX) this.untilMs.clear();
        this.untilMs.set(place.stream, untilMs);
        return info;
      }
      if (performance.now() >= Math.min(giveUpMs, scope.deadlineMs))
        throw unavailable({ bucket: place.bucket });
      await delay(RETRY_WAIT_MS);
    }
  }
}

/** How long ago the leader heard of a majority, in milliseconds: of itself now, of each follower at some time. */
function silenceMs({ config, cluster }: StreamInfo): number {
  const needed = Math.floor((config.num_replicas ?? 1) / 2);
  if (needed === 0) return 0;
  if (!cluster?.leader) return Infinity;
  const ages = (cluster.replicas ?? []).map(({ active }) => active / NANOS_PER_MS).sort((a, b) => a - b);
  return ages[needed - 1] ?? Infinity;
}

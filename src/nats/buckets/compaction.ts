/**
 * Compacts tombstones: removes them, with what their keys had before, once they are older than a retention, when a full bucket needs the
 * room, or when asked for.
 *
 * Before a tombstone goes, the bucket's metadata says up to which revision some are gone: a watch that resumes from before that gets
 * `revision_compacted`. A watch that is live must have been delivered it: those younger than a minute stay until every consumer of the
 * stream has been (a consumer that lags by more than that is not waited for). What was written to the key since stays. Every copy of the service
 * does this; doing it twice is harmless.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Limits } from "../../kv/limits.js";
import { bucketOfStream, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext, CompactionResult } from "../../kv/store.js";
import type { BucketFacts } from "../streams/bucket-config-cache.js";
import type { BucketEdit } from "./bucket-update.js";
import type { ByteLimits } from "./byte-limits.js";
import { toKvError, unavailable } from "../client/errors.js";
import { maxBytesOf } from "../streams/headroom.js";
import { serverTimeMs, type StreamConfig, type StreamInfo } from "../client/jetstream-api.js";
import type { Log } from "../client/log.js";
import { existing, type MessageReader, type Place, storedMessageBytesMax } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { NoReplyError } from "../client/no-reply.js";
import { keepsTombstones, withCompactedTo } from "../streams/stream-config.js";
import { streamsOf } from "../streams/stream-pages.js";
import { type Survivors, type SurvivorsMark, survivorsMark, withSurvivorsMark } from "./survivors.js";
import { storedSequences } from "./stored-sequences.js";
import { deliveredTo, removeTombstones, scanTombstones, type Tombstone } from "./tombstones.js";

export interface CompactionOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly limits: Limits;
  readonly log: Log | undefined;
  /** Changes the configuration of a bucket's stream. */
  readonly edit: (place: Place, edit: BucketEdit, context: CallContext) => Promise<StreamInfo>;
  readonly byteLimits: ByteLimits;
  readonly survivors: Survivors;
}

/** What a pass is for: `age`, what is older than the retention; `room`, until the bucket is not full; `all`. */
type Reason = "age" | "room" | "all";

interface Pass {
  readonly removed: number;
  /** Whether tombstones were left for a consumer that has not been delivered them. */
  readonly isHeldBack: boolean;
}

/** Age from which a tombstone does not wait for the stream's consumers. */
const CONSUMER_WAIT_MS = 60_000;
/** Tombstones that are removed before the bucket's size is looked at again. */
const ROOM_CHUNK = 256;
/** How far a full bucket is emptied, if tombstones allow. */
const ROOM_FRACTION = 0.75;
const PASS_TIMEOUT_MS = 300_000;
const SWEEP_INTERVAL_MS_MAX = 60_000;
const SWEEP_INTERVAL_MS_MIN = 1_000;
/** After a pass that found nothing, a full bucket is looked at again when it was written to, or held back, and after this time. */
const FUTILE_MS = 1_000;
/** Time between compactions by age, in times of what recording the survivors took. */
const RECORD_PAUSE_FACTOR = 50;
/** Buckets of which something is remembered. */
const BUCKETS_MAX = 10_000;
const NANOS_PER_MS = 1_000_000;
const NEVER_ABORTED = new AbortController().signal;

export class Compaction {
  /** Tombstones removed since the start. */
  removed = 0;
  /** By stream and its creation: up to which sequence no tombstone is left. */
  private readonly cleanTo = new Map<string, number>();
  private readonly passes = new Map<string, Promise<Pass>>();
  /** By stream: its state when there was nothing to compact. */
  private readonly futile = new Map<string, { readonly state: string; readonly untilMs: number }>();
  /** By stream: when old tombstones may be compacted again, as recording a large bucket takes long. */
  private readonly notBeforeMs = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(private readonly options: CompactionOptions) {}

  /** Begins to sweep all buckets now and then. */
  start(): void {
    const retentionMs = this.options.limits.tombstoneRetentionMs || Infinity;
    const intervalMs = Math.min(SWEEP_INTERVAL_MS_MAX, Math.max(SWEEP_INTERVAL_MS_MIN, retentionMs / 10));
    // Copies that start together do not sweep together.
    const afterMs = intervalMs * (0.5 + Math.random());
    this.timer = setTimeout(() => {
      void this.sweep().finally(() => {
        if (!this.isStopped) this.start();
      });
    }, afterMs).unref();
  }

  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  /** Compacts every tombstone of a bucket. See `Store.compactBucket`. */
  async compact(bucket: string, context: CallContext): Promise<CompactionResult> {
    const place = { bucket, stream: streamName(bucket) };
    const { removed } = await this.alone(place, () => this.pass(place, "all", context));
    return { removed };
  }

  /** Compacts tombstones of a full bucket, the oldest first. False: there are none. */
  async makeRoom(place: Place, facts: BucketFacts, context: CallContext): Promise<boolean> {
    const known = this.futile.get(place.stream);
    const state = `${facts.created} ${facts.lastSequence}`;
    if (known?.state === state && performance.now() < known.untilMs) return false;
    // Others may need the room when this caller is gone.
    const pass =
      this.passes.get(place.stream) ?? this.alone(place, () => this.pass(place, "room", ownContext()));
    pass.catch(() => undefined);
    const { removed, isHeldBack } = await before(context, pass);
    if (removed > 0) return true;
    const untilMs = isHeldBack ? performance.now() + FUTILE_MS : Infinity;
    if (this.futile.size >= BUCKETS_MAX) this.futile.clear();
    this.futile.set(place.stream, { state, untilMs });
    return false;
  }

  private async sweep(): Promise<void> {
    const { requests, log, survivors } = this.options;
    const marks = new Set<string>();
    try {
      for await (const info of streamsOf(requests, "STREAM.LIST", ownContext())) {
        const bucket = bucketOfStream(info.config.name);
        if (bucket === undefined || this.isStopped) continue;
        marks.add(survivorsMark(info.config)?.id ?? "");
        await this.tend({ bucket, stream: info.config.name }, info).catch((error: unknown) => {
          log?.warn({ err: error, bucket }, "the tombstones of a bucket could not be compacted");
        });
      }
      if (!this.isStopped) await survivors.dropUnmarked(marks, PASS_TIMEOUT_MS, ownContext());
    } catch (error) {
      log?.warn({ err: error }, "tombstones could not be compacted");
    }
  }

  private async tend(place: Place, info: StreamInfo): Promise<void> {
    await this.options.byteLimits.tend(place, info, ownContext());
    const ageMs = (info.config.max_age ?? 0) / NANOS_PER_MS;
    const retentionMs = this.retentionMs(info.config);
    const expireFirst = ageMs > 0 && ageMs <= retentionMs && !keepsTombstones(info.config);
    const isClean = (this.cleanTo.get(cleanName(info)) ?? 0) >= info.state.last_seq;
    if (expireFirst || retentionMs === Infinity || isClean || info.state.messages === 0) return;
    if (performance.now() < (this.notBeforeMs.get(place.stream) ?? 0)) return;
    await this.alone(place, () => this.pass(place, "age", ownContext()));
  }

  /** Infinity: as long as there is room. Where entries expire, no longer than they do: below an older tombstone nothing else is left. */
  private retentionMs({ max_age = 0 }: StreamConfig): number {
    const ageMs = max_age === 0 ? Infinity : max_age / NANOS_PER_MS;
    return Math.min(ageMs, this.options.limits.tombstoneRetentionMs || Infinity);
  }

  private async pass(place: Place, reason: Reason, context: CallContext): Promise<Pass> {
    const { requests, limits } = this.options;
    const info = await existing(requests, place, context);
    const name = cleanName(info);
    // Of buckets that are gone nothing is to stay; what is not known is scanned again.
    if (this.cleanTo.size >= BUCKETS_MAX) this.cleanTo.clear();
    const nowMs = serverTimeMs(info);
    const range = {
      from: (this.cleanTo.get(name) ?? 0) + 1,
      beforeMs: reason === "age" ? nowMs - this.retentionMs(info.config) : Infinity,
      withMarkers: reason !== "age",
    };
    if (range.from > info.state.last_seq) return { removed: 0, isHeldBack: false };
    let removed = 0;
    let recordedTo = 0;
    let isHeldBack = false;
    await scanTombstones(
      requests,
      place,
      subjectPrefix(place.bucket),
      range,
      storedMessageBytesMax(limits),
      context,
      async (found, upTo) => {
        const atOnce = reason === "room" ? ROOM_CHUNK : found.length;
        for (let at = 0; at < found.length && !isHeldBack; at += atOnce) {
          const chunk = found.slice(at, at + atOnce);
          const last = chunk.at(-1) as Tombstone;
          const { ready, heldBack } = await this.prepare(place, chunk, last.sequence, nowMs, context);
          if (last.sequence > recordedTo && ready.length > 0) {
            recordedTo = await this.recordSurvivors(place, context);
            // A leader that was deposed and does not know it yet.
            if (last.sequence > recordedTo) throw unavailable({ bucket: place.bucket });
          }
          removed += await this.remove(place, info, ready, context);
          isHeldBack = heldBack !== undefined;
          this.cleanTo.set(name, heldBack === undefined ? last.sequence : heldBack - 1);
          if (reason === "room" && !isHeldBack && (await this.hasRoom(place, context))) return false;
        }
        if (!isHeldBack) this.cleanTo.set(name, upTo);
        return !isHeldBack;
      },
    );
    return { removed, isHeldBack };
  }

  /** Marks the compaction in the bucket's metadata first: readers that start later find the mark. Then checks which readers still need the tombstones. */
  private async prepare(
    place: Place,
    tombstones: readonly Tombstone[],
    upTo: number,
    nowMs: number,
    context: CallContext,
  ): Promise<{ ready: readonly Tombstone[]; heldBack: number | undefined }> {
    const { requests, edit } = this.options;
    const latestMs = Math.max(...tombstones.map(({ timeMs }) => timeMs));
    await edit(place, ({ config }) => withCompactedTo(config, upTo, latestMs), context);
    const delivered = await deliveredTo(requests, place, context).catch((error: unknown) => {
      throw toKvError(error, { bucket: place.bucket });
    });
    const isReady = ({ sequence, timeMs }: Tombstone): boolean =>
      sequence <= delivered || timeMs <= nowMs - CONSUMER_WAIT_MS;
    return {
      ready: tombstones.filter(isReady),
      heldBack: tombstones.find((tombstone) => !isReady(tombstone))?.sequence,
    };
  }

  /** Records what is stored, so that a restart of the storage can't bring back what the tombstones hide. Returns up to which sequence. */
  private async recordSurvivors(place: Place, context: CallContext): Promise<number> {
    const { requests, limits, survivors, edit } = this.options;
    const startMs = performance.now();
    const stored = await storedSequences(requests, place, storedMessageBytesMax(limits), context);
    const { upTo } = stored;
    const mark = await survivors.save(place, stored, context);
    const tookMs = performance.now() - startMs;
    if (this.notBeforeMs.size >= BUCKETS_MAX) this.notBeforeMs.clear();
    this.notBeforeMs.set(place.stream, performance.now() + RECORD_PAUSE_FACTOR * tookMs);
    let other: SurvivorsMark | undefined;
    const change: BucketEdit = ({ config }) => {
      const current = survivorsMark(config);
      if (current?.id !== mark.id) other = current;
      return withSurvivorsMark(config, mark);
    };
    await edit(place, change, context);
    const unused = other !== undefined && other.upTo >= upTo ? mark : other;
    if (unused !== undefined) await survivors.drop(place, unused, context).catch(() => undefined);
    return upTo;
  }

  private async remove(
    place: Place,
    { config }: StreamInfo,
    tombstones: readonly Tombstone[],
    context: CallContext,
  ): Promise<number> {
    const { requests, reader } = this.options;
    const hasHistory = config.max_msgs_per_subject !== 1;
    const removed = await removeTombstones(requests, reader, place, hasHistory, tombstones, context);
    this.removed += removed;
    return removed;
  }

  private async hasRoom(place: Place, context: CallContext): Promise<boolean> {
    const { config, state } = await existing(this.options.requests, place, context);
    return state.bytes <= maxBytesOf(config) * ROOM_FRACTION;
  }

  /** One pass of a bucket at a time. */
  private async alone(place: Place, pass: () => Promise<Pass>): Promise<Pass> {
    const earlier = this.passes.get(place.stream);
    const mine = earlier === undefined ? pass() : earlier.then(pass, pass);
    this.passes.set(place.stream, mine);
    try {
      return await mine;
    } finally {
      if (this.passes.get(place.stream) === mine) this.passes.delete(place.stream);
    }
  }
}

function cleanName({ config, created }: StreamInfo): string {
  return `${config.name} ${created}`;
}

function ownContext(): CallContext {
  return { deadlineMs: performance.now() + PASS_TIMEOUT_MS, signal: NEVER_ABORTED };
}

/** Waits for it no longer than the caller does. */
async function before<Result>(context: CallContext, result: Promise<Result>): Promise<Result> {
  const end = new AbortController();
  const late = delay(Math.max(0, context.deadlineMs - performance.now()), undefined, { signal: end.signal });
  late.catch(() => undefined);
  try {
    const winner = await Promise.race([result, late]);
    if (winner === undefined) throw toKvError(new NoReplyError("deadline", false), {});
    return winner;
  } finally {
    end.abort();
  }
}

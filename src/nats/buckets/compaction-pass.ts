/** One compaction of one bucket: finds tombstones, records what stays, and removes them, oldest first. */
import type { Limits } from "../../kv/limits.js";
import { subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import { toKvError, unavailable } from "../client/errors.js";
import { serverTimeMs, type StreamConfig, type StreamInfo } from "../client/jetstream-api.js";
import { existing, type MessageReader, type Place, storedMessageBytesMax } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { maxBytesOf } from "../streams/headroom.js";
import { withCompactedTo } from "../streams/stream-config.js";
import type { BucketEdit } from "./bucket-update.js";
import { type Survivors, type SurvivorsMark, survivorsMark, withSurvivorsMark } from "./survivors.js";
import { storedSequences } from "./stored-sequences.js";
import { deliveredTo, removeTombstones, scanTombstones, type Tombstone } from "./tombstones.js";

export interface CompactionPassesOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly limits: Limits;
  /** Changes the configuration of a bucket's stream. */
  readonly edit: (place: Place, edit: BucketEdit, context: CallContext) => Promise<StreamInfo>;
  readonly survivors: Survivors;
}

/** Which tombstones to remove. `age`: those older than the retention; `space`: until the bucket is no longer full; `all`: all. */
export type PassReason = "age" | "space" | "all";

export interface PassResult {
  readonly removed: number;
  /** Whether tombstones were kept because a consumer has not received them. */
  readonly isHeldBack: boolean;
}

/** A tombstone of this age is removed even if a consumer has not received it. */
const CONSUMER_WAIT_MS = 60_000;
/** The number of tombstones removed between two checks of the bucket's size. */
const SPACE_CHUNK = 256;
/** A full bucket is compacted down to this fraction of its limit, if it has enough tombstones. */
const SPACE_FRACTION = 0.75;
/** The pause between compactions by age, as a multiple of the time that recording the survivors took. */
const RECORD_PAUSE_FACTOR = 50;
/** Limits each map to this many buckets. */
const BUCKETS_MAX = 10_000;
const NANOS_PER_MS = 1_000_000;

export class CompactionPasses {
  /** Tombstones removed since the start. */
  removed = 0;
  /** By stream and creation time: no tombstone is left up to this sequence. */
  private readonly cleanTo = new Map<string, number>();
  /** By stream: the earliest time of the next compaction by age. Recording a large bucket takes long. */
  private readonly notBeforeMs = new Map<string, number>();

  constructor(private readonly options: CompactionPassesOptions) {}

  /** Whether no tombstone can be removed, or the pause after the previous compaction is not over. */
  isUnneeded(info: StreamInfo): boolean {
    if ((this.cleanTo.get(cleanName(info)) ?? 0) >= info.state.last_seq) return true;
    return performance.now() < (this.notBeforeMs.get(info.config.name) ?? 0);
  }

  /** Infinity: tombstones stay as long as there is space. At most the TTL of entries: no older value is left below such a tombstone. */
  retentionMs({ max_age = 0 }: StreamConfig): number {
    const ageMs = max_age === 0 ? Infinity : max_age / NANOS_PER_MS;
    return Math.min(ageMs, this.options.limits.tombstoneRetentionMs || Infinity);
  }

  /** Removes tombstones of a bucket. Throws `KvError`. */
  async run(place: Place, reason: PassReason, context: CallContext): Promise<PassResult> {
    const { requests, limits } = this.options;
    const info = await existing(requests, place, context);
    const name = cleanName(info);
    // Deleted buckets must not stay in the map. Cleared entries only cost another scan.
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
        const atOnce = reason === "space" ? SPACE_CHUNK : found.length;
        for (let at = 0; at < found.length && !isHeldBack; at += atOnce) {
          const chunk = found.slice(at, at + atOnce);
          const last = chunk.at(-1) as Tombstone;
          const { ready, heldBack } = await this.prepare(place, chunk, last.sequence, nowMs, context);
          if (last.sequence > recordedTo && ready.length > 0) {
            recordedTo = await this.recordSurvivors(place, context);
            // A deposed leader, which does not know of its deposition yet, has answered.
            if (last.sequence > recordedTo) throw unavailable({ bucket: place.bucket });
          }
          removed += await this.remove(place, info, ready, context);
          isHeldBack = heldBack !== undefined;
          this.cleanTo.set(name, heldBack === undefined ? last.sequence : heldBack - 1);
          if (reason === "space" && !isHeldBack && (await this.hasSpace(place, context))) return false;
        }
        if (!isHeldBack) this.cleanTo.set(name, upTo);
        return !isHeldBack;
      },
    );
    return { removed, isHeldBack };
  }

  /**
   * Marks the compaction in the bucket's metadata: readers that start later find the mark. Then checks which tombstones the readers that
   * started earlier still need.
   */
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

  /** Records what is stored, because a restart of the storage may restore values that the tombstones hide. Returns the last sequence. */
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

  private async hasSpace(place: Place, context: CallContext): Promise<boolean> {
    const { config, state } = await existing(this.options.requests, place, context);
    return state.bytes <= maxBytesOf(config) * SPACE_FRACTION;
  }
}

function cleanName({ config, created }: StreamInfo): string {
  return `${config.name} ${created}`;
}

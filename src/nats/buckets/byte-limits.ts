/** Keeps the byte limits of streams above the `max_bytes` of their buckets: streams/headroom.ts explains why. */
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import type { CallContext } from "../../kv/call-context.js";
import { serverTimeMs, type StreamInfo } from "../client/jetstream-api.js";
import { existing, type Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { hasHeadroom, isRaised, lowered, maxBytesOf, raised, settledBytes } from "../streams/headroom.js";
import { CREATION_ID_KEY, updatedConfig } from "../streams/stream-config.js";
import type { BucketEdit } from "./bucket-update.js";

export interface ByteLimitsOptions {
  readonly requests: Requests;
  readonly limits: Limits;
  /** Changes the configuration of a bucket's stream. */
  readonly edit: (place: Place, edit: BucketEdit, context: CallContext) => Promise<StreamInfo>;
}

/** The running deletes of one bucket that need a raised limit. */
interface Raise {
  count: number;
  /** Whether the limit could be raised. */
  ready: Promise<boolean>;
}

/** The free space for deletes after the limit was raised: hundreds of tombstones. */
const DELETE_BYTES = 65_536;
/** A delete raises the limit again if another instance lowered it or another program used the space. */
const RAISES_MAX = 3;
const LOWER_TIMEOUT_MS = 10_000;
const MARKER_BYTES_MAX = 1_024;
const EXPIRY_LATE_MS = 5_000;
const NANOS_PER_MS = 1_000_000;
const NEVER_ABORTED = new AbortController().signal;

export class ByteLimits {
  private readonly raises = new Map<string, Raise>();

  constructor(private readonly options: ByteLimitsOptions) {}

  /** Runs a delete that a full stream has refused, with a raised limit. The last of concurrent deletes lowers the limit. */
  async whileRaised<Result>(
    place: Place,
    context: CallContext,
    write: () => Promise<Result>,
  ): Promise<Result> {
    const raise = this.raises.get(place.stream) ?? { count: 0, ready: this.raise(place, context) };
    this.raises.set(place.stream, raise);
    raise.count++;
    try {
      for (let raisesLeft = RAISES_MAX; ;) {
        const { ready } = raise;
        const isHigher = await ready;
        try {
          return await write();
        } catch (error) {
          const isFull = error instanceof KvError && error.kind === "bucket_full";
          if (!isFull || !isHigher || --raisesLeft === 0) throw error;
          if (raise.ready === ready) raise.ready = this.raise(place, context);
        }
      }
    } finally {
      if (--raise.count === 0) {
        this.raises.delete(place.stream);
        // If this fails, the sweep lowers the limit.
        this.lower(place).catch(() => undefined);
      }
    }
  }

  /** For the sweep: adds headroom to a bucket of an earlier version of the service, and space for expiry markers that do not fit. */
  async tend(place: Place, info: StreamInfo, context: CallContext): Promise<void> {
    const { config } = info;
    if (config.metadata?.[CREATION_ID_KEY] === undefined || (config.max_bytes ?? 0) <= 0) return;
    if (!hasHeadroom(config)) return this.giveHeadroom(place, context);
    if (canNotExpire(info)) {
      if ((config.max_bytes ?? 0) < info.state.bytes + MARKER_BYTES_MAX || !isRaised(config))
        await this.options.edit(place, (base) => raisedForMarkers(base), context);
    } else if (isRaised(config)) {
      await this.lower(place);
    }
  }

  private async raise(place: Place, context: CallContext): Promise<boolean> {
    const { config } = await existing(this.options.requests, place, context);
    // A bucket of another program keeps its limit.
    if (config.metadata?.[CREATION_ID_KEY] === undefined || (config.max_bytes ?? 0) <= 0) return false;
    if (!hasHeadroom(config)) await this.giveHeadroom(place, context);
    else
      await this.options.edit(
        place,
        ({ config: base, state }) => (hasHeadroom(base) ? raised(base, state.bytes, DELETE_BYTES) : base),
        context,
      );
    return true;
  }

  private async giveHeadroom(place: Place, context: CallContext): Promise<void> {
    const { edit, limits } = this.options;
    const grow: BucketEdit = ({ config, state }) =>
      updatedConfig(config, place.bucket, { maxBytes: maxBytesOf(config) }, limits, state.bytes);
    await edit(place, grow, context);
  }

  private async lower(place: Place): Promise<void> {
    const context = { deadlineMs: performance.now() + LOWER_TIMEOUT_MS, signal: NEVER_ABORTED };
    const { config } = await existing(this.options.requests, place, context);
    if (!isRaised(config)) return;
    const isInUse = (): boolean => this.raises.has(place.stream);
    if (!isInUse())
      await this.options.edit(place, ({ config: base }) => (isInUse() ? base : lowered(base)), context);
  }
}

/** Whether entries are overdue to expire: other programs filled the headroom, so expiry markers do not fit. */
function canNotExpire(info: StreamInfo): boolean {
  const { config, state } = info;
  const isFull = state.bytes + MARKER_BYTES_MAX > settledBytes(config);
  const oldestMs = state.first_ts === undefined ? Infinity : Date.parse(state.first_ts);
  const ageMs = (config.max_age ?? 0) / NANOS_PER_MS;
  return isFull && ageMs > 0 && oldestMs + ageMs + EXPIRY_LATE_MS < serverTimeMs(info);
}

function raisedForMarkers({ config, state }: StreamInfo): StreamInfo["config"] {
  return hasHeadroom(config) ? raised(config, state.bytes, settledBytes(config)) : config;
}

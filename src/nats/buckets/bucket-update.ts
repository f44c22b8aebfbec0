/** Updates a bucket's configuration: reads it, writes it with the change, and verifies the result. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { BucketLock } from "./bucket-lock.js";
import { JetStreamError, kindOf, outcomeUnknown, toKvError, unavailable } from "../client/errors.js";
import { askJetStream, type StreamConfig, type StreamInfo, within } from "../client/jetstream-api.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import { type Requests, NoReplyError } from "../client/requests.js";
import { BUCKET_ANSWER_TIMEOUT_MS, isRetryable, RETRY_WAIT_MS } from "../client/retry.js";
import { CHANGE_ID_KEY } from "../streams/stream-config.js";

/** Attempts to apply a change while other programs, which do not use our leases, change the bucket too. */
const ATTEMPTS_MAX = 5;
/** How long a cluster's new leader may lag behind a change that the previous leader acknowledged. */
const LAG_MS_MAX = 2_000;

export interface BucketUpdateOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
}

/** Computes a bucket's new configuration from its current state. */
export type BucketEdit = (base: StreamInfo) => StreamConfig;

/** One change of one bucket, identified in the stream's metadata. */
export class BucketUpdate {
  readonly id = randomUUID();

  constructor(
    private readonly options: BucketUpdateOptions,
    private readonly place: Place,
    private readonly edit: BucketEdit,
    /** Undefined if no other process changes buckets. */
    private readonly lock: BucketLock | undefined,
  ) {}

  /** Returns the bucket with the change. Throws `KvError`; `outcome_unknown` if the change was sent but can't be verified. */
  async run(context: CallContext): Promise<StreamInfo> {
    const { requests } = this.options;
    const about = { bucket: this.place.bucket };
    let acknowledged: StreamInfo | undefined;
    let isUncertain = false;
    let wasInterrupted = false;
    for (let attempts = 0; ;) {
      try {
        await requests.untilConnected(context);
        // The storage may have restarted since, and lost the lease.
        if (wasInterrupted || this.lock?.isFresh === false) await this.lock?.hold(context);
        wasInterrupted = false;
        const base = await this.current(context);
        if (base.config.metadata?.[CHANGE_ID_KEY] === this.id) return base;
        acknowledged = undefined;
        if (this.lock?.isFresh === false) continue;
        if (attempts++ === ATTEMPTS_MAX) throw outcomeUnknown(about);
        acknowledged = await this.send(base, context);
      } catch (error) {
        if (acknowledged !== undefined) return acknowledged;
        isUncertain ||= error instanceof NoReplyError && error.sent;
        if (isRetryable(error, context)) {
          wasInterrupted = true;
          await delay(RETRY_WAIT_MS);
          continue;
        }
        throw isUncertain && !isRefusal(error) ? outcomeUnknown(about, error) : toKvError(error, about);
      }
    }
  }

  private async send(base: StreamInfo, context: CallContext): Promise<StreamInfo> {
    const { requests } = this.options;
    const { stream } = this.place;
    const { metadata, ...config } = this.edit(base);
    const body = { ...config, metadata: { ...metadata, [CHANGE_ID_KEY]: this.id } };
    const shorter = within(context, BUCKET_ANSWER_TIMEOUT_MS);
    return askJetStream<StreamInfo>(requests, `STREAM.UPDATE.${stream}`, body, shorter);
  }

  /** The bucket including the last change. */
  private async current(context: CallContext): Promise<StreamInfo> {
    for (const giveUpMs = performance.now() + LAG_MS_MAX; ;) {
      const info = await this.options.reader.stream(this.place, context);
      const isOld =
        this.lock?.isIncludedIn(info) === false && info.config.metadata?.[CHANGE_ID_KEY] !== this.id;
      if (!isOld || performance.now() >= giveUpMs) return info;
      if (performance.now() + RETRY_WAIT_MS >= context.deadlineMs)
        throw unavailable({ bucket: this.place.bucket });
      await delay(RETRY_WAIT_MS);
    }
  }
}

/** Whether the storage refused the change: it was not applied. */
function isRefusal(error: unknown): boolean {
  if (error instanceof JetStreamError) return kindOf(error) !== "unavailable";
  return error instanceof KvError && (error.kind === "bucket_not_found" || error.kind === "invalid_argument");
}

/**
 * Removes what a restart of the storage brought back: see survivors.ts. Every call on a bucket waits until the bucket was checked in the
 * present run of the server, so no client sees a deleted value again.
 */
import { KvError } from "../../kv/errors.js";
import { streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import { purgeStream, type StreamInfo } from "../client/jetstream-api.js";
import type { Log } from "../client/log.js";
import { existing, type Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { withinContext } from "../client/shared-work.js";
import { NoReplyError } from "../client/no-reply.js";
import { type Survivors, type SurvivorsMark, survivorsMark } from "./survivors.js";
import { scanUpTo } from "./tombstones.js";

export interface RestartCheckOptions {
  readonly requests: Requests;
  readonly survivors: Survivors;
  readonly messageBytesMax: number;
  readonly log: Log | undefined;
}

const BUCKETS_MAX = 100_000;
const CHECK_TIMEOUT_MS = 300_000;
const NEVER_ABORTED = new AbortController().signal;

export class RestartCheck {
  /** Since when the server runs of which `checked` speaks. */
  private serverSinceMs = -1;
  private readonly checked = new Set<string>();
  private readonly checks = new Map<string, Promise<void>>();

  constructor(private readonly options: RestartCheckOptions) {}

  /** Undefined where the bucket was checked; otherwise what ends when it was. Rejects with `KvError`. */
  pending(bucket: string, context: CallContext): Promise<void> | undefined {
    const { requests } = this.options;
    if (requests.serverSinceMs !== this.serverSinceMs) {
      this.serverSinceMs = requests.serverSinceMs;
      this.checked.clear();
      this.checks.clear();
    }
    return this.checked.has(bucket) ? undefined : this.wait(bucket, context);
  }

  private async wait(bucket: string, context: CallContext): Promise<void> {
    const place = { bucket, stream: streamName(bucket) };
    const { serverSinceMs } = this;
    let check = this.checks.get(bucket);
    if (check === undefined) {
      const info = await existing(this.options.requests, place, context).catch((error: unknown) => {
        // The call says so itself, after it has checked its arguments.
        if (error instanceof KvError && error.kind === "bucket_not_found") return undefined;
        throw error;
      });
      if (info === undefined) return;
      check = this.checks.get(bucket) ?? this.begin(place, info, serverSinceMs);
    }
    await before(context, check, bucket);
  }

  private begin(place: Place, info: StreamInfo, serverSinceMs: number): Promise<void> {
    const check = this.check(place, info).then(() => {
      if (this.serverSinceMs !== serverSinceMs) return;
      if (this.checked.size >= BUCKETS_MAX) this.checked.clear();
      this.checked.add(place.bucket);
    });
    this.checks.set(place.bucket, check);
    const forget = (): void => {
      if (this.checks.get(place.bucket) === check) this.checks.delete(place.bucket);
    };
    check.then(forget, forget);
    return check;
  }

  private async check(place: Place, { config }: StreamInfo): Promise<void> {
    const { survivors, log, requests } = this.options;
    // Others wait for it when this caller is gone.
    const context = { deadlineMs: performance.now() + CHECK_TIMEOUT_MS, signal: NEVER_ABORTED };
    for (let mark = survivorsMark(config); mark !== undefined;) {
      const sequences = await survivors.load(place, mark, context);
      if (sequences !== undefined) return this.removeOthers(place, mark, sequences, context);
      const latest = survivorsMark((await existing(requests, place, context)).config);
      if (latest?.id === mark.id) {
        log?.warn(
          { bucket: place.bucket },
          "what compaction left of a bucket is not recorded; it is not checked",
        );
        return;
      }
      mark = latest;
    }
  }

  private async removeOthers(
    place: Place,
    { upTo, timeMs: recordedMs }: SurvivorsMark,
    survivors: ReadonlySet<number>,
    context: CallContext,
  ): Promise<void> {
    const { requests, messageBytesMax, log } = this.options;
    const prefix = subjectPrefix(place.bucket);
    /** By subject: the newest message that is back. */
    const back = new Map<string, number>();
    await scanUpTo(requests, place, upTo, messageBytesMax, context, ({ revision, timeMs, storedKey }) => {
      if (!survivors.has(revision) && timeMs <= recordedMs) back.set(prefix + storedKey, revision);
    });
    try {
      for (const [filter, sequence] of back)
        await purgeStream(requests, place.stream, { filter, seq: sequence + 1 }, context);
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
    if (back.size > 0)
      log?.warn(
        { bucket: place.bucket, keys: back.size },
        "values of deleted keys were back after a restart of nats-server; they are removed",
      );
  }
}

/** Waits for the check no longer than the caller does. */
async function before(context: CallContext, check: Promise<void>, bucket: string): Promise<void> {
  try {
    await withinContext(context, check);
  } catch (error) {
    if (!(error instanceof NoReplyError)) throw error;
    if (error.reason !== "deadline") throw toKvError(error, { bucket });
    throw new KvError(
      "unavailable",
      "The bucket is being checked after a restart of the storage. Try again.",
      { bucket },
    );
  }
}

/**
 * Removes values that a restart of the storage restored after their deletion: survivors.ts explains how. After each start of the server, every
 * call waits until its bucket was checked, so no client sees a deleted value again.
 */
import { KvError } from "../../kv/errors.js";
import { streamName } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import { toKvError } from "../client/errors.js";
import { purgeStream, type StreamInfo } from "../client/jetstream-api.js";
import type { Log } from "../client/log.js";
import { existing, type MessageReader, type Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { withinContext } from "../client/shared-work.js";
import { NoReplyError } from "../client/no-reply.js";
import { notIn, type Runs } from "./sequence-runs.js";
import { storedSequences } from "./stored-sequences.js";
import { type Survivors, type SurvivorsMark, survivorsMark } from "./survivors.js";

export interface RestartCheckOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  /** The other connections that calls use: whichever is back first tells of a restart. */
  readonly others: readonly Requests[];
  readonly survivors: Survivors;
  readonly messageBytesMax: number;
  readonly log: Log | undefined;
}

const BUCKETS_MAX = 100_000;
const CHECK_TIMEOUT_MS = 300_000;
const REQUESTS_AT_ONCE = 16;
const NEVER_ABORTED = new AbortController().signal;

export class RestartCheck {
  /** Identifies the server's run of which `checked` speaks. */
  private run = "";
  private readonly checked = new Set<string>();
  private readonly checks = new Map<string, Promise<void>>();

  constructor(private readonly options: RestartCheckOptions) {}

  /** Resolves when the bucket was checked; undefined if it was before. Rejects with `KvError`. */
  pending(bucket: string, context: CallContext): Promise<void> | undefined {
    const run = this.currentRun();
    if (run !== this.run) {
      this.run = run;
      this.checked.clear();
      this.checks.clear();
    }
    return this.checked.has(bucket) ? undefined : this.wait(bucket, context);
  }

  private async wait(bucket: string, context: CallContext): Promise<void> {
    const place = { bucket, stream: streamName(bucket) };
    const { run } = this;
    let check = this.checks.get(bucket);
    if (check === undefined) {
      const info = await existing(this.options.requests, place, context).catch((error: unknown) => {
        // The call reports this itself, after it has checked its arguments.
        if (error instanceof KvError && error.kind === "bucket_not_found") return undefined;
        throw error;
      });
      if (info === undefined) return;
      check = this.checks.get(bucket) ?? this.begin(place, info, run);
    }
    await untilChecked(context, check, bucket);
  }

  private begin(place: Place, info: StreamInfo, run: string): Promise<void> {
    const check = this.check(place, info).then(() => {
      if (run !== this.currentRun()) return;
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

  private currentRun(): string {
    const { requests, others } = this.options;
    return [requests, ...others].map(({ serverSinceMs }) => serverSinceMs).join();
  }

  private async check(place: Place, { config }: StreamInfo): Promise<void> {
    const { survivors, log, requests } = this.options;
    // With its own context: other callers may wait for the check after this one ends.
    const context = { deadlineMs: performance.now() + CHECK_TIMEOUT_MS, signal: NEVER_ABORTED };
    for (let mark = survivorsMark(config); mark !== undefined;) {
      const recorded = await survivors.load(place, mark, context);
      if (recorded !== undefined) return this.removeOthers(place, mark, recorded, context);
      const latest = survivorsMark((await existing(requests, place, context)).config);
      if (latest?.id === mark.id) {
        log?.warn(
          { bucket: place.bucket },
          "the record of a compaction is missing; the bucket is not checked for restored values",
        );
        return;
      }
      mark = latest;
    }
  }

  private async removeOthers(
    place: Place,
    { upTo, timeMs: recordedMs }: SurvivorsMark,
    recorded: Runs,
    context: CallContext,
  ): Promise<void> {
    const { requests, reader, messageBytesMax, log } = this.options;
    const { runs } = await storedSequences(requests, place, messageBytesMax, context);
    /** By subject: the sequence of the newest restored message. */
    const restored = new Map<string, number>();
    await inParallel(notIn(recorded, runs, upTo), async (sequence) => {
      const message = await reader.at(place, BigInt(sequence), context);
      if (message === undefined || message.timeMs > recordedMs) return;
      restored.set(message.subject, Math.max(sequence, restored.get(message.subject) ?? 0));
    });
    try {
      await inParallel(restored.entries(), async ([filter, sequence]) => {
        await purgeStream(requests, place.stream, { filter, seq: sequence + 1 }, context);
      });
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
    if (restored.size > 0)
      log?.warn(
        { bucket: place.bucket, keys: restored.size },
        "removed values of deleted keys that a restart of nats-server had restored",
      );
  }
}

/** Runs `task` on each item, {@link REQUESTS_AT_ONCE} at a time. */
async function inParallel<Item>(items: Iterable<Item>, task: (item: Item) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const work = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) await task(next.value);
  };
  await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, work));
}

/** Waits for the check until the caller's context ends. */
async function untilChecked(context: CallContext, check: Promise<void>, bucket: string): Promise<void> {
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

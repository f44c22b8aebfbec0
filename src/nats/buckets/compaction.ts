/**
 * Compacts tombstones: removes them and the earlier revisions of their keys when they are older than the retention, when a full bucket needs
 * space, or on request.
 *
 * Before removing tombstones, writes their last revision to the bucket's metadata: a watch that resumes from before it gets
 * `revision_compacted`. Live watches must receive a tombstone first: those younger than a minute stay until every consumer of the stream has
 * received them (slower consumers miss them). Later revisions of the key stay. Every instance of the service compacts; a repeated
 * compaction is harmless.
 */
import { bucketOfStream, streamName } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { CompactionResult } from "../../kv/bucket.js";
import type { CachedBucket } from "../streams/bucket-config-cache.js";
import type { ByteLimits } from "./byte-limits.js";
import { CompactionPasses, type CompactionPassesOptions, type PassResult } from "./compaction-pass.js";
import { toKvError } from "../client/errors.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import type { Log } from "../client/log.js";
import type { Place } from "../client/message-reader.js";
import { NoReplyError } from "../client/no-reply.js";
import { withinContext } from "../client/shared-work.js";
import { keepsTombstones } from "../streams/stream-config.js";
import { streamsOf } from "../streams/stream-pages.js";
import { survivorsMark } from "./survivors.js";

export interface CompactionOptions extends CompactionPassesOptions {
  readonly log: Log | undefined;
  readonly byteLimits: ByteLimits;
}

const PASS_TIMEOUT_MS = 300_000;
const SWEEP_INTERVAL_MS_MAX = 60_000;
const SWEEP_INTERVAL_MS_MIN = 1_000;
/** After a pass that kept tombstones for a consumer, a full bucket is compacted again no sooner than this. */
const HELD_BACK_RETRY_MS = 1_000;
/** Limits the map of futile passes to this many buckets. */
const BUCKETS_MAX = 10_000;
const NANOS_PER_MS = 1_000_000;
const NEVER_ABORTED = new AbortController().signal;

export class Compaction {
  private readonly passes: CompactionPasses;
  private readonly running = new Map<string, Promise<PassResult>>();
  /** By stream: its state when a pass removed nothing. Until that changes, another pass is futile. */
  private readonly futile = new Map<string, { readonly state: string; readonly untilMs: number }>();
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(private readonly options: CompactionOptions) {
    this.passes = new CompactionPasses(options);
  }

  /** Tombstones removed since the start. */
  get removed(): number {
    return this.passes.removed;
  }

  /** Starts to sweep all buckets at intervals. */
  start(): void {
    const retentionMs = this.options.limits.tombstoneRetentionMs || Infinity;
    const intervalMs = Math.min(SWEEP_INTERVAL_MS_MAX, Math.max(SWEEP_INTERVAL_MS_MIN, retentionMs / 10));
    // Random: instances that start together must not sweep together.
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
    const { removed } = await this.inTurn(place, () => this.passes.run(place, "all", context));
    return { removed };
  }

  /** Compacts tombstones of a full bucket, oldest first. Returns false if it has none. */
  async freeSpace(place: Place, facts: CachedBucket, context: CallContext): Promise<boolean> {
    const known = this.futile.get(place.stream);
    const state = `${facts.created} ${facts.lastSequence}`;
    if (known?.state === state && performance.now() < known.untilMs) return false;
    // With its own context: other callers may need the space after this one ends.
    const pass =
      this.running.get(place.stream) ??
      this.inTurn(place, () => this.passes.run(place, "space", ownContext()));
    pass.catch(() => undefined);
    const { removed, isHeldBack } = await untilEnded(context, pass);
    if (removed > 0) return true;
    const untilMs = isHeldBack ? performance.now() + HELD_BACK_RETRY_MS : Infinity;
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
    const retentionMs = this.passes.retentionMs(info.config);
    const expireFirst = ageMs > 0 && ageMs <= retentionMs && !keepsTombstones(info.config);
    if (expireFirst || retentionMs === Infinity || info.state.messages === 0) return;
    if (this.passes.isUnneeded(info)) return;
    await this.inTurn(place, () => this.passes.run(place, "age", ownContext()));
  }

  /** Runs the passes of a bucket one after the other. */
  private async inTurn(place: Place, pass: () => Promise<PassResult>): Promise<PassResult> {
    const earlier = this.running.get(place.stream);
    const mine = earlier === undefined ? pass() : earlier.then(pass, pass);
    this.running.set(place.stream, mine);
    try {
      return await mine;
    } finally {
      if (this.running.get(place.stream) === mine) this.running.delete(place.stream);
    }
  }
}

function ownContext(): CallContext {
  return { deadlineMs: performance.now() + PASS_TIMEOUT_MS, signal: NEVER_ABORTED };
}

/** Waits for a pass until the caller's context ends. The write that needs the space was not sent. */
async function untilEnded<Result>(context: CallContext, pass: Promise<Result>): Promise<Result> {
  try {
    return await withinContext(context, pass);
  } catch (error) {
    throw error instanceof NoReplyError ? toKvError(new NoReplyError(error.reason, false), {}) : error;
  }
}

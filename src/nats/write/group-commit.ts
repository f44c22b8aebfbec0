/**
 * Group commit: writes of a bucket that wait while others are in flight leave together, as one atomic batch (ADR-50), which the storage syncs
 * once. A write that need not wait leaves at once, alone. A batch that is refused is not applied at all, and its writes leave again, each
 * alone: so each has the outcome that it would have had alone.
 *
 * Writes of a bucket whose stream does not accept batches, or that is nearly full, are published alone, as are all writes to a server that
 * does not support them. A stream that does not accept batches is configured to, when two writes first overlap.
 */
import type { CallContext } from "../../kv/call-context.js";
import type { CachedBucket } from "../streams/bucket-config-cache.js";
import { JetStreamError, kindOf } from "../client/errors.js";
import type { Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { capabilitiesOf } from "../client/server-version.js";
import { isNearLimit } from "./bucket-quota.js";
import type { BatchStaging } from "../embedded/batch-staging.js";
import { CheckedWindow } from "./checked-window.js";
import { StagedBatches } from "./staged-batches.js";
import { type Acknowledgement, publish, type PublicationGroup } from "./publication.js";
import { WriteQueue } from "./write-queue.js";

export interface GroupCommitOptions {
  readonly requests: Requests;
  /** Whether the server syncs writes before it acknowledges them, as far as is known: only then does a batch save time. */
  readonly isSynced: () => boolean;
  /** Creates the id of a batch. */
  readonly batchId: () => string;
  /** Stages batches in memory. Default: the server stages them itself. */
  readonly staging?: BatchStaging | undefined;
  /** Configures a bucket's stream to accept batches. */
  readonly allowBatches: (place: Place, context: CallContext) => Promise<unknown>;
}

interface BucketState {
  readonly queue: WriteQueue;
  readonly window: CheckedWindow;
  /** Writes in flight that did not go through the queue. */
  alone: number;
  /** Until then, writes are published alone: a batch failed. */
  pausedUntilMs: number;
  /** Until then, the stream is not configured again to accept batches. */
  configuredUntilMs: number;
}

const BUCKETS_MAX = 10_000;
const PAUSE_MS = 1_000;
const CONFIGURE_TIMEOUT_MS = 5_000;
const CONFIGURE_AGAIN_MS = 600_000;
const NEVER_ABORTED = new AbortController().signal;

export class GroupCommit {
  readonly stats = { batches: 0, writes: 0, refused: 0, staged: 0 };
  private readonly byStream = new Map<string, BucketState>();
  private server: { readonly version: string; readonly isSupported: boolean } | undefined;

  constructor(private readonly options: GroupCommitOptions) {}

  /** Publishes a group of a bucket. Throws {@link JetStreamError} if the storage refuses it, or `NoReplyError`. */
  publish(
    place: Place,
    group: PublicationGroup,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<Acknowledgement> {
    const { requests, batchId } = this.options;
    if (!facts.isSynced || !this.isSupported) return publish(requests, group, batchId, context);
    const state = this.stateOf(place.stream);
    const isChecked = group.some((message) => message.isChecked);
    if (!facts.allowsBatches) {
      if (state.alone > 0) this.configure(place, state);
      return this.publishAlone(group, isChecked, state, context);
    }
    const isUnlikely = isChecked && state.window.limit === 0;
    const isPaused = state.pausedUntilMs > performance.now();
    if (isUnlikely || isPaused || isNearLimit(facts))
      return this.publishAlone(group, isChecked, state, context);
    return state.queue.publish(group, context);
  }

  private get isSupported(): boolean {
    const version = this.options.requests.link.connection.info?.version ?? "";
    if (this.server?.version !== version) {
      const isSupported = capabilitiesOf(version).atomicBatches && this.options.isSynced();
      this.server = { version, isSupported };
    }
    return this.server.isSupported;
  }

  private async publishAlone(
    group: PublicationGroup,
    isChecked: boolean,
    state: BucketState,
    context: CallContext,
  ): Promise<Acknowledgement> {
    const { requests, batchId } = this.options;
    state.alone++;
    try {
      const acknowledgement = await publish(requests, group, batchId, context);
      if (isChecked) state.window.accepted(1);
      return acknowledgement;
    } catch (error) {
      const isMismatch = error instanceof JetStreamError && kindOf(error) === "revision_mismatch";
      if (isMismatch) state.window.refused();
      throw error;
    } finally {
      state.alone--;
    }
  }

  private configure(place: Place, state: BucketState): void {
    const nowMs = performance.now();
    if (state.configuredUntilMs > nowMs) return;
    state.configuredUntilMs = nowMs + CONFIGURE_AGAIN_MS;
    const context = { deadlineMs: nowMs + CONFIGURE_TIMEOUT_MS, signal: NEVER_ABORTED };
    // If it is refused, writes of the bucket stay single.
    this.options.allowBatches(place, context).catch(() => undefined);
  }

  private stateOf(stream: string): BucketState {
    const known = this.byStream.get(stream);
    if (known !== undefined) return known;
    if (this.byStream.size >= BUCKETS_MAX) this.dropIdle();
    const { requests, batchId, staging } = this.options;
    const window = new CheckedWindow();
    const staged = new StagedBatches(staging, stream, batchId);
    const state: BucketState = {
      ...{ window, alone: 0, pausedUntilMs: 0, configuredUntilMs: 0 },
      queue: new WriteQueue({
        ...{ requests, window, staged, batchId },
        onBatch: (count, isRefused, isStaged) => this.count(count, isRefused, isStaged),
        onFault: () => (state.pausedUntilMs = performance.now() + PAUSE_MS),
      }),
    };
    this.byStream.set(stream, state);
    return state;
  }

  private dropIdle(): void {
    for (const [stream, { queue, alone }] of this.byStream) {
      if (!queue.isIdle || alone > 0) continue;
      queue.close();
      this.byStream.delete(stream);
    }
  }

  private count(writes: number, isRefused: boolean, isStaged: boolean): void {
    this.stats.batches++;
    this.stats.writes += writes;
    if (isRefused) this.stats.refused++;
    if (isStaged) this.stats.staged++;
  }
}

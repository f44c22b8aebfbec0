/**
 * Tracks the position of a watch, so that it resumes without missing or duplicating events.
 *
 * Resuming by revision is complete even within the snapshot, because the snapshot is in the order of revisions. If it breaks after
 * revision R, each missing entry has a revision above R, or was replaced or removed by a write with a revision above R. A second
 * snapshot instead would miss the deletes of keys that were already emitted.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { BucketService } from "../../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  WatchRequest_Start,
  type WatchRequestSchema,
  type WatchResponse,
} from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { BucketSchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { RpcClient } from "./rpc-client.js";
import { withJson } from "./json.js";
import { dateOf, durationOf, millisecondsOfTimestamp, revisionOf, timestampOf } from "./convert.js";
import { KvOutOfRangeError } from "./errors.js";
import { ChangeEvent, type WatchEvent, type WatchOptions } from "./watch-events.js";

const START = {
  snapshot: WatchRequest_Start.SNAPSHOT,
  history: WatchRequest_Start.HISTORY,
} as const;

export const DEFAULT_PROGRESS_INTERVAL_MS = 15_000;

type Request = MessageInitShape<typeof WatchRequestSchema> & { bucket: string };

export class WatchPosition {
  /** All changes up to this revision have been emitted. Undefined: none yet, start as the options say. */
  private completeUpTo: bigint | undefined;
  /** Identifies the bucket that the revisions belong to. Undefined: not known yet. */
  private bucketCreatedAt: Timestamp | undefined;
  private lastChangeAtMs = 0;
  private hasSnapshotEnd = false;
  /** Superseded revisions that no event has reported yet. */
  private superseded = 0;
  private readonly base: Request;

  /** Throws KvInvalidArgumentError or TypeError for invalid options. */
  constructor(
    private readonly bucket: string,
    filters: readonly string[],
    private readonly options: WatchOptions,
  ) {
    if (options.start !== undefined && options.startRevision !== undefined) {
      throw new TypeError("start and startRevision are both set; a watch accepts only one of them.");
    }
    if (options.startRevision !== undefined) {
      this.completeUpTo = revisionOf(options.startRevision, "startRevision") - 1n;
    }
    if (options.bucketCreatedAt !== undefined) {
      if (options.startRevision === undefined)
        throw new TypeError("bucketCreatedAt is set without startRevision; set both, or neither.");
      this.bucketCreatedAt = timestampOf(options.bucketCreatedAt, "bucketCreatedAt");
    }
    this.base = {
      bucket,
      filters: [...filters],
      ignoreDeletes: options.ignoreDeletes ?? false,
      keysOnly: options.keysOnly ?? false,
      previous: options.previous ?? false,
      everyChange: options.everyChange ?? false,
      progressInterval: durationOf(
        options.progressIntervalMs ?? DEFAULT_PROGRESS_INTERVAL_MS,
        "progressIntervalMs",
        1,
      ),
    };
  }

  /** The request that resumes from this position. */
  async request(rpc: RpcClient, signal: AbortSignal): Promise<Request> {
    const start = this.options.start ?? "snapshot";
    if (this.completeUpTo === undefined && start !== "now") return { ...this.base, start: START[start] };
    if (this.completeUpTo === undefined || (this.bucketCreatedAt === undefined && this.lastChangeAtMs > 0)) {
      await this.identifyBucket(rpc, signal);
    }
    const request: Request = { ...this.base, startRevision: (this.completeUpTo ?? 0n) + 1n };
    if (!this.hasSnapshotEnd && !this.startsAtRevision) request.everyChange = false;
    if (this.bucketCreatedAt !== undefined) request.bucketCreatedAt = this.bucketCreatedAt;
    return request;
  }

  /** Advances past a message. Returns the event to emit, if any; `wantsMarks`: not only changes. */
  apply(message: WatchResponse, wantsMarks: boolean): WatchEvent | undefined {
    this.count(message);
    const event = this.eventOf(message);
    if (event === undefined || (!wantsMarks && !(event instanceof ChangeEvent))) return undefined;
    this.superseded = 0;
    return event;
  }

  /** A snapshot or history that was interrupted leaves out what was superseded before its end. */
  private count({ superseded, event }: WatchResponse): void {
    const isPartOfStart = !this.hasSnapshotEnd && !this.startsAtRevision;
    if (isPartOfStart || event.case === undefined || superseded === 0n) return;
    this.superseded += Number(superseded);
    if (this.options.everyChange !== true) return;
    throw new KvOutOfRangeError(
      `${superseded} revisions of the bucket "${this.bucket}" were superseded before they could be emitted; start a new watch from a snapshot.`,
      { code: "out_of_range", reason: "revision_compacted", bucket: this.bucket },
    );
  }

  private eventOf({ event }: WatchResponse): WatchEvent | undefined {
    const { superseded } = this;
    switch (event.case) {
      case "change": {
        const change = new ChangeEvent(event.value, superseded);
        this.advance(change.revision);
        this.lastChangeAtMs = change.createdAt.getTime();
        return change;
      }
      case "snapshotEnd": {
        const { revision, bucketCreatedAt } = event.value;
        this.advance(revision);
        this.bucketCreatedAt ??= bucketCreatedAt;
        // A resumed stream repeats the snapshot's end, which the application has already seen.
        if (this.hasSnapshotEnd) return undefined;
        this.hasSnapshotEnd = true;
        return withJson<WatchEvent>({
          type: "snapshot_end",
          revision,
          bucketCreatedAt: dateOf(bucketCreatedAt),
          superseded,
        });
      }
      case "progress": {
        const { revision, time } = event.value;
        this.advance(revision);
        return withJson<WatchEvent>({ type: "progress", revision, time: dateOf(time), superseded });
      }
      case undefined:
        return undefined;
    }
  }

  /** Whether every change from the start on is to be emitted, unlike in a snapshot or history. */
  private get startsAtRevision(): boolean {
    return this.options.startRevision !== undefined || this.options.start === "now";
  }

  private advance(revision: bigint): void {
    if (revision > (this.completeUpTo ?? -1n)) this.completeUpTo = revision;
  }

  /**
   * Fetches the bucket's creation time and revision, if no stream has sent them: for `now`, to have a revision to resume from; after an
   * interrupted snapshot, to detect that the bucket was recreated.
   */
  private async identifyBucket(rpc: RpcClient, signal: AbortSignal): Promise<void> {
    const response = await rpc.unary(BucketService.method.getBucket, { bucket: this.bucket }, { signal });
    const bucket = response.bucket ?? create(BucketSchema);
    const { createdAt } = bucket;
    if (
      createdAt !== undefined &&
      millisecondsOfTimestamp(createdAt) > this.lastChangeAtMs &&
      this.lastChangeAtMs > 0
    ) {
      throw new KvOutOfRangeError(
        `The bucket "${this.bucket}" was deleted and recreated during the watch; start a new watch from a snapshot.`,
        {
          code: "out_of_range",
          reason: "revision_in_future",
          bucket: this.bucket,
          revision: bucket.revision,
        },
      );
    }
    this.completeUpTo ??= bucket.revision;
    this.bucketCreatedAt = createdAt;
  }
}

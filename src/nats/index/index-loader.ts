/** Loads key indexes: from a copy in a file and what was stored since, or from all messages of the stream. */
import { setTimeout as delay } from "node:timers/promises";
import type { CallContext } from "../../kv/call-context.js";
import { KvError } from "../../kv/errors.js";
import { quote, subjectPrefix } from "../../kv/names.js";
import { bucketNotFound } from "../client/errors.js";
import type { StreamInfo } from "../client/jetstream-api.js";
import { existing, type Place } from "../client/message-reader.js";
import type { BucketFeeds, Following } from "../feed/bucket-feed.js";
import type { BucketIndex } from "./bucket-index.js";
import { checkedOf } from "./checked.js";
import type { Checkpoints } from "./checkpoints.js";
import { type ScanOptions, scanInParts, scanStream } from "./stream-scan.js";

export interface IndexLoaderOptions extends ScanOptions {
  readonly feeds: BucketFeeds;
}

const FOLLOW_TIMEOUT_MS = 5_000;
const RETRY_MS = 50;
const LOAD_TIMEOUT_MS = 300_000;
const NEVER_ABORTED = new AbortController().signal;

export class IndexLoader {
  /** Loads that began with a copy. */
  restores = 0;
  isClosed = false;

  constructor(
    private readonly options: IndexLoaderOptions,
    private readonly checkpoints: Checkpoints | undefined,
    /** See `INDEX_BYTES_MAX`. */
    private readonly bytesMax: number,
  ) {}

  /** Loads an index. */
  async load(place: Place, index: BucketIndex): Promise<void> {
    const { requests } = this.options;
    const context = { deadlineMs: performance.now() + LOAD_TIMEOUT_MS, signal: NEVER_ABORTED };
    const following = await this.follow(place, index);
    if (index.isOver || this.isClosed) {
      following.stop();
      return;
    }
    const info = await existing(requests, place, context);
    const state = checkedOf(info);
    index.follow(following, state);
    if (state.created !== following.origin.created) throw bucketNotFound(place.bucket);
    const restored = await this.checkpoints?.restore(place, index, following);
    if (restored === undefined) await this.scan(place, index, info, following.startsAfter, context);
    else await this.scanAfter(place, index, restored, following.startsAfter, context);
    if (!index.hasTooManyTombstones) await index.loaded();
    if (index.hasTooManyTombstones) throw tooManyTombstones(place.bucket, this.bytesMax);
    if (restored !== undefined) {
      this.restores++;
      await this.checkpoints?.verify(place, index, restored, context);
    }
    const after = await existing(requests, place, context);
    await index.appliedThrough(after.state.last_seq, context);
    index.compare(checkedOf(after));
  }

  /** Loads all keys. */
  private async scan(
    place: Place,
    index: BucketIndex,
    { state, config }: StreamInfo,
    upTo: number,
    context: CallContext,
  ): Promise<void> {
    if (state.messages === 0 || upTo === 0) return;
    const isNewestOnly = config.max_msgs_per_subject === 1;
    const start = isNewestOnly ? { sequence: Math.max(1, state.first_seq) } : ("newest_of_each" as const);
    const range = { subjectPrefix: subjectPrefix(place.bucket), start, upTo, flow: index };
    await scanInParts(this.options, place, range, (head) => index.load(head), context);
  }

  /** Loads what was stored after a revision. */
  private async scanAfter(
    place: Place,
    index: BucketIndex,
    revision: number,
    upTo: number,
    context: CallContext,
  ): Promise<void> {
    const start = { sequence: revision + 1 };
    const range = { subjectPrefix: subjectPrefix(place.bucket), start, upTo, flow: index };
    if (upTo > revision) await scanStream(this.options, place, range, (head) => index.load(head), context);
  }

  /** Retries for a short time: after an outage the feeds' connection may be back later than the others. */
  private async follow({ bucket }: Place, index: BucketIndex): Promise<Following> {
    const giveUpMs = performance.now() + FOLLOW_TIMEOUT_MS;
    for (;;) {
      try {
        return await this.options.feeds.follow(bucket, index);
      } catch (error) {
        const mayPass = error instanceof KvError && error.kind === "unavailable";
        if (!mayPass || this.isClosed || performance.now() >= giveUpMs) throw error;
        await delay(RETRY_MS);
      }
    }
  }
}

function tooManyTombstones(bucket: string, bytesMax: number): KvError {
  return new KvError(
    "storage_exhausted",
    `The deleted keys of the bucket ${quote(bucket)} do not fit into the ${bytesMax} bytes of INDEX_BYTES_MAX. Compact the bucket, or raise the setting.`,
    { bucket },
  );
}

/** The options of a hub and its statistics. */
import type { Limits } from "../../kv/limits.js";
import type { BucketFeeds, FeedStats } from "../feed/bucket-feed.js";
import type { Semaphore } from "../feed/semaphore.js";
import type { StreamApi } from "../read/stream-api.js";
import type { KeySnapshots } from "./key-snapshot.js";
import type { ProgressTicker } from "./progress-ticker.js";
import type { QueueMemory } from "./queue-memory.js";

export interface HubOptions {
  readonly api: StreamApi;
  readonly feeds: BucketFeeds;
  readonly subjectPrefix: string;
  readonly isClustered: boolean;
  readonly limits: Limits;
  /** Of the queues of all watches. */
  readonly queueMemory: QueueMemory;
  /** Permits for readers, shared by all hubs. */
  readonly readerPermits: Semaphore;
  /** Where the keys of snapshots without values come from. Undefined: from the stream. */
  readonly keySnapshots: KeySnapshots | undefined;
  readonly ticker: ProgressTicker<ProgressItem>;
  /** Called when the hub has ended: no watcher is left, or its bucket was deleted. */
  readonly onEnd: () => void;
}

/** A watcher with progress events. */
export interface ProgressItem {
  mark(): void;
}

export interface HubStats extends FeedStats {
  readonly bucket: string;
  readonly watchers: number;
  readonly catchingUp: number;
  readonly queuedEvents: number;
  readonly queuedBytes: number;
}

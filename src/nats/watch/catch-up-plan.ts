/** What a catch-up is told when it starts: what to read, and where live changes come from. */
import type { WatchOptions } from "../../kv/watch.js";
import type { StreamState } from "../read/stream-api.js";
import type { Watcher } from "./watcher.js";

/** The live changes of a bucket. */
export interface LiveChanges {
  /** The feed has delivered every change up to here, or started after it. */
  readonly position: number;
  /** Whether memory has every change after this revision that the feed has delivered. */
  remembers(revision: number): boolean;
  /** Queues the changes in memory after the watcher's position, while it has capacity. Returns whether these were all. */
  replay(watcher: Watcher): boolean;
  /** Resolves soon, at the latest when the feed has delivered every change up to this revision. Never rejects. */
  appliedThrough(revision: number): Promise<void>;
  /** The same as `replay`, and then subscribes the watcher to live changes. False: its capacity did not suffice. */
  goLive(watcher: Watcher): boolean;
}

export interface CatchUpPlan {
  readonly kind: "snapshot" | "history" | "changes";
  /** The bucket's newest revision when the watch began, or after the last read. */
  readonly upTo: number;
  /** Whether it was empty then. */
  readonly isEmpty: boolean;
  /** The number of its keys, with those that are deleted. */
  readonly subjects: number;
  /** When the bucket was created: as the server formats it, and in milliseconds. */
  readonly created: string;
  readonly bucketCreatedAtMs: number;
  /** The number of revisions kept per key. */
  readonly historyDepth: number;
  /** Tombstones up to this revision were compacted before the watch began. */
  readonly compactedTo: number;
  /** The bucket's TTL in milliseconds; 0: none. */
  readonly ageMsMax: number;
  /** The start of the watch by the storage's clock, in milliseconds since 1970. */
  readonly nowMs: number;
}

/** The plan of a watch that starts with the bucket in this state. */
export function planOf(start: WatchOptions["start"], state: StreamState): CatchUpPlan {
  return {
    kind: typeof start === "object" ? "changes" : start === "history" ? "history" : "snapshot",
    upTo: state.lastSequence,
    isEmpty: state.messages === 0,
    subjects: state.subjects,
    created: state.created,
    bucketCreatedAtMs: state.createdAtMs,
    historyDepth: state.history,
    compactedTo: state.compactedTo,
    ageMsMax: state.ageMsMax,
    nowMs: state.nowMs,
  };
}

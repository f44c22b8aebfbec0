/** What a hub is made with, and what it tells of itself. */
import type { Limits } from "../../kv/limits.js";
import type { StreamApi } from "../read/stream-api.js";
import type { IdleWindows } from "./idle-windows.js";
import type { ProgressTicker } from "./progress-ticker.js";
import type { Slots } from "./semaphore.js";

/** Where it is told what the watches of a bucket go through; pino's loggers fit. */
export interface HubLog {
  info(facts: object, sentence: string): void;
  debug(facts: object, sentence: string): void;
}

export interface HubOptions {
  readonly api: StreamApi;
  readonly subjectPrefix: string;
  readonly isClustered: boolean;
  readonly limits: Limits;
  readonly log: HubLog;
  /** Places for readers, shared by all hubs. */
  readonly slots: Slots;
  /** What live feeds ask for ahead, shared by all hubs. */
  readonly idleWindows: IdleWindows;
  readonly ticker: ProgressTicker<ProgressItem>;
  /** The hub is over: no watcher is left, or its bucket is gone. */
  readonly onOver: () => void;
}

/** A watcher that wants progress marks. */
export interface ProgressItem {
  mark(): void;
}

export interface HubStats {
  readonly bucket: string;
  readonly watchers: number;
  readonly catchingUp: number;
  readonly queuedEvents: number;
  readonly queuedBytes: number;
  /** Changes that the storage had still to deliver when the last one came. */
  readonly lagEvents: number;
  /** Time since the storage's last sign of life. */
  readonly silenceMs: number;
  /** How often the live feed's consumer was considered lost and recreated. */
  readonly restarts: number;
}

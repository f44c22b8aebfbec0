/** What a watch is asked for, and what it gives. */
import type { WatchResponse_Change } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { EntrySchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { create } from "@bufbuild/protobuf";
import type { Revision } from "./convert.js";
import { Entry, type Operation } from "./entry.js";
import type { KvError } from "./errors.js";

/** A change of one key, or a key of the snapshot: the entry after the change, with `type` = its operation. */
export class ChangeEvent extends Entry {
  readonly type: Operation;
  /** The entry before the change: only where `previous` was asked for and the history still has it. */
  readonly previous: Entry | undefined;

  constructor(change: WatchResponse_Change) {
    super(change.entry ?? create(EntrySchema));
    this.type = this.operation;
    this.previous = change.previous === undefined ? undefined : new Entry(change.previous);
  }
}

/** Everything that was there when the watch began has been given. Comes once, also when there was nothing. */
export interface SnapshotEndEvent {
  readonly type: "snapshot_end";
  /** The bucket's revision that the snapshot shows; 0n when nothing was ever written. */
  readonly revision: bigint;
  /** Give this as `bucketCreatedAt` to resume in another run of the program. */
  readonly bucketCreatedAt: Date;
}

/** Nothing is missing up to here. */
export interface ProgressEvent {
  readonly type: "progress";
  readonly revision: bigint;
  /** The service's time. */
  readonly time: Date;
}

/** What a watch with `marks` gives. */
export type WatchEvent = ChangeEvent | SnapshotEndEvent | ProgressEvent;

export interface WatchOptions {
  /** Ends the watch: the loop over it finishes, without an error. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Where to begin. `snapshot`, the default: with the present value of each matching key, in the order of their revisions, then the
   * changes. `history`: with every revision that is kept. `now`: with the changes after the watch has begun, which is when the first
   * event was asked for; `marks` shows the moment by `snapshot_end`.
   */
  readonly start?: "snapshot" | "history" | "now" | undefined;
  /** Begin with the first change of this revision or later, instead of `start`. */
  readonly startRevision?: Revision | undefined;
  /** With `startRevision`: refuse with KvOutOfRangeError when the bucket was deleted and made again since. */
  readonly bucketCreatedAt?: Date | undefined;
  /** Leave out deletes, purges and expiries. Default: false. */
  readonly ignoreDeletes?: boolean | undefined;
  /** Give entries without their values. Default: false. */
  readonly keysOnly?: boolean | undefined;
  /** Give with each change the entry that it replaced. Default: false. */
  readonly previous?: boolean | undefined;
  /** Also give `snapshot_end` and `progress`. Default: false. */
  readonly marks?: boolean | undefined;
  /**
   * How often the service shows that it is alive, in milliseconds: 100 to 3,600,000. Default: 15,000. Without a sign for three times as
   * long, the SDK connects anew. It also bounds how far a resumed watch has to go back.
   */
  readonly progressIntervalMs?: number | undefined;
  /** How many tries to connect may fail in a row before the watch throws the last error. Default: endless. */
  readonly failuresMax?: number | undefined;
  /** Called when the watch was interrupted and is about to resume. */
  readonly onInterrupted?: ((error: KvError) => void) | undefined;
}

/**
 * A watch to iterate, once. Leaving the loop, `return()` and the signal end it at once, also while an event is awaited.
 * Nothing is sent before the first event is asked for.
 */
export interface Watch<Event> extends AsyncIterableIterator<Event, undefined> {
  next(): Promise<IteratorResult<Event, undefined>>;
  return(): Promise<IteratorResult<Event, undefined>>;
  [Symbol.asyncIterator](): Watch<Event>;
}

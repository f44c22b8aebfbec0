/** The options and events of a watch. */
import type { WatchResponse_Change } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { EntrySchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { create } from "@bufbuild/protobuf";
import type { Revision } from "./convert.js";
import { Entry, type Operation } from "./entry.js";
import type { KvError } from "./errors.js";
import { jsonRevision } from "./json.js";
import type { OptionNames } from "./options.js";

/** A change of one key, or a key of the snapshot. Its properties are those of the entry after the change; `type` is its operation. */
export class ChangeEvent extends Entry {
  readonly type: Operation;
  /** The entry before the change: only with the option `previous`, and if the history or the service's memory still has it. */
  readonly previous: Entry | undefined;
  /** See {@link Superseded}. */
  readonly superseded: number;
  /**
   * The revision of the last write of the commit that this change belongs to. The changes of one commit follow each other. Undefined: the
   * change is a write of its own.
   */
  readonly commitRevision: bigint | undefined;

  constructor(change: WatchResponse_Change, superseded: number) {
    super(change.entry ?? create(EntrySchema));
    this.superseded = superseded;
    this.type = this.operation;
    this.commitRevision = change.commitRevision === 0n ? undefined : change.commitRevision;
    this.previous = change.previous === undefined ? undefined : new Entry(change.previous);
  }

  override toJSON(): Record<string, unknown> {
    const { type, previous, superseded, commitRevision } = this;
    return {
      ...{ type, ...super.toJSON(), previous, superseded },
      commitRevision: commitRevision && jsonRevision(commitRevision),
    };
  }
}

/** What every event says of the changes before it. */
interface Superseded {
  /**
   * How many revisions of the bucket between the previous event and this one were gone before the service could read them: superseded
   * while the watch, or the service's connection to its storage, was interrupted. Usually 0. Their keys are not known: with filters, it
   * is an upper bound. The newest revision of each key is never among them.
   */
  readonly superseded: number;
}

/** The end of the snapshot or history. Emitted once, even if it was empty. */
export interface SnapshotEndEvent extends Superseded {
  readonly type: "snapshot_end";
  /** The bucket's revision at the snapshot; 0n if nothing was ever written. */
  readonly revision: bigint;
  /** Pass this as `bucketCreatedAt` to resume in another run of the program. */
  readonly bucketCreatedAt: Date;
}

/** All changes up to this revision have been emitted. */
export interface ProgressEvent extends Superseded {
  readonly type: "progress";
  readonly revision: bigint;
  /** The service's clock. */
  readonly time: Date;
}

/** The events of a watch with `marks`. */
export type WatchEvent = ChangeEvent | SnapshotEndEvent | ProgressEvent;

export const WATCH_OPTIONS: OptionNames<WatchOptions> = {
  ...{ signal: true, start: true, startRevision: true, bucketCreatedAt: true, ignoreDeletes: true },
  ...{ keysOnly: true, previous: true, everyChange: true, marks: true, progressIntervalMs: true },
  ...{ failuresMax: true, onInterrupted: true },
};

export interface WatchOptions {
  /** Ends the watch: the loop over it finishes without an error. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Where to start. `snapshot`, the default: first emit the current value of each matching key, in the order of their revisions.
   * `history`: first emit every stored revision. `now`: emit only changes made after the watch has started. A watch starts at the first
   * `next()`; with `marks`, `snapshot_end` reports the start of `now`.
   */
  readonly start?: "snapshot" | "history" | "now" | undefined;
  /** Start with the first change at this revision or later, instead of `start`. */
  readonly startRevision?: Revision | undefined;
  /** With `startRevision`: throw KvOutOfRangeError if the bucket was deleted and recreated. */
  readonly bucketCreatedAt?: Date | undefined;
  /** Omit deletes, purges and expiries. Default: false. */
  readonly ignoreDeletes?: boolean | undefined;
  /** Emit entries without their values. Default: false. */
  readonly keysOnly?: boolean | undefined;
  /** Include the entry that each change replaced, if the history or the service's memory still has it. Default: false. */
  readonly previous?: boolean | undefined;
  /**
   * Throw KvOutOfRangeError if a revision was superseded before it could be emitted, instead of counting it in `superseded`. With
   * filters, a revision of any key of the bucket may end the watch. Default: false.
   */
  readonly everyChange?: boolean | undefined;
  /** Also emit `snapshot_end` and `progress`. Default: false. */
  readonly marks?: boolean | undefined;
  /**
   * The interval of the service's progress events, in milliseconds: 100 to 3,600,000. Default: 15,000. The SDK reconnects after three
   * intervals without an event. A shorter interval lets an interrupted watch resume from a more recent revision.
   */
  readonly progressIntervalMs?: number | undefined;
  /** How many consecutive connection attempts may fail before the watch throws the last error. Default: unlimited. */
  readonly failuresMax?: number | undefined;
  /** Called when the watch is interrupted, before it resumes. */
  readonly onInterrupted?: ((error: KvError) => void) | undefined;
}

/**
 * A watch. It can be iterated once, and sends nothing before the first `next()`. Leaving the loop, calling `return()` or aborting the
 * signal ends it at once, even during a pending `next()`.
 */
export interface Watch<Event> extends AsyncIterableIterator<Event, undefined> {
  next(): Promise<IteratorResult<Event, undefined>>;
  return(): Promise<IteratorResult<Event, undefined>>;
  [Symbol.asyncIterator](): Watch<Event>;
}

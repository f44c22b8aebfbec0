/** What one catch-up reads from the storage: its part in a shared snapshot, or changes with a reader of its own. Holds one reader permit meanwhile. */
import { KvError } from "../../kv/errors.js";
import type { Entry } from "../../kv/entry.js";
import type { Change } from "../read/delivery.js";
import type { DirectAnswer } from "../read/direct-get.js";
import type { Reader } from "../read/stream-reader.js";
import { sharedContext } from "../read/stream-api.js";
import type { CatchUpPlan } from "./catch-up-plan.js";
import type { KeySnapshotReader } from "./key-snapshot.js";
import type { Part, SharedSnapshot } from "./shared-snapshot.js";
import type { Source } from "./source.js";
import type { Watcher } from "./watcher.js";

/** Entries of a snapshot without values. */
export interface KeysPart {
  /** False: the keys must be read from the stream. */
  readonly isIndexed: boolean;
  readonly entries: readonly Entry[];
  /** Of the snapshot. */
  readonly revision: number;
  /** Whether the keys were taken at a later revision: those that were replaced since are missing. */
  readonly isLater: boolean;
  /** Whether none follows. */
  readonly isDone: boolean;
}

type Accept = (change: Change) => void;

export class CatchUpReads {
  private snapshot: SharedSnapshot | undefined;
  private keySnapshot: KeySnapshotReader | undefined;
  private reader: Reader | undefined;
  private releasePermit: (() => void) | undefined;
  private readonly turn: { onGiveUp: (() => void) | undefined } = { onGiveUp: undefined };
  private hasBegun = false;
  private isBroken = false;

  constructor(
    private readonly source: Source,
    private readonly watcher: Watcher,
    private readonly plan: CatchUpPlan,
    private readonly subjects: readonly string[],
    private readonly subject: string,
  ) {}

  /** Releases everything. */
  stop(): void {
    this.turn.onGiveUp?.();
    this.close();
  }

  /** Releases what it reads with; the next read opens it again. */
  close(): void {
    this.snapshot?.leave();
    this.snapshot = undefined;
    this.keySnapshot = undefined;
    void this.reader?.close();
    this.reader = undefined;
    this.releasePermit?.();
    this.releasePermit = undefined;
  }

  /** Closes the reader early: messages that it did not deliver may be gone when reading resumes. */
  breakOff(): void {
    this.isBroken = true;
    this.close();
  }

  /** A small snapshot, or the beginning of a larger one, by one request; undefined: not possible, or the watch is over. */
  async snapshotAtOnce(): Promise<DirectAnswer | undefined> {
    await this.acquirePermit();
    return this.watcher.isOver ? undefined : this.joinSnapshot().atOnce();
  }

  /** The next part of the snapshot. Undefined: the storage does not answer, or the watch is over. */
  snapshotPart(accept: Accept): Promise<Part | undefined> {
    return this.whileReachable(async () => {
      const { source, watcher } = this;
      await this.checkUnbroken();
      if (watcher.isOver) return undefined;
      const batch = watcher.keysOnly ? source.keysBatchMax : source.batchMax;
      const part = await this.joinSnapshot().part(watcher.position, batch);
      for (const change of part.changes) accept(change);
      return part;
    });
  }

  /**
   * The next entries of a snapshot without values, after the watcher's position. `upTo`: the snapshot's revision; undefined: not known yet.
   * Undefined: as above.
   */
  keys(upTo: number | undefined): Promise<KeysPart | undefined> {
    return this.whileReachable(async () => {
      const { source, watcher, plan } = this;
      await this.checkUnbroken();
      if (watcher.isOver) return undefined;
      if (this.keySnapshot === undefined) {
        const taken = await source.takeKeys(watcher.filters, plan.created);
        taken?.seek(watcher.position);
        this.keySnapshot = taken;
      }
      const snapshot = this.keySnapshot;
      if (snapshot === undefined)
        return { isIndexed: false, entries: [], revision: 0, isLater: false, isDone: false };
      const entries = await snapshot.read(source.keysBatchMax, sharedContext());
      const revision = upTo ?? snapshot.revision;
      const within = entries.filter((entry) => entry.revision <= BigInt(revision));
      const isDone = snapshot.isDone || within.length < entries.length;
      return { isIndexed: true, entries: within, revision, isLater: snapshot.revision > revision, isDone };
    });
  }

  /** The bucket's newest revision. Undefined: as above. */
  newestRevision(): Promise<number | undefined> {
    return this.whileReachable(() => this.source.newestRevision(this.plan.created));
  }

  /** The next changes. Undefined: as above. */
  changes(accept: Accept): Promise<Part | undefined> {
    return this.whileReachable(async () => {
      const reader = (this.reader ??= await this.openReader());
      if (reader === undefined) return undefined;
      const changes: Change[] = [];
      const result = await reader.pull(this.source.batchMax, (change) => {
        changes.push(change);
        accept(change);
      });
      return { result, changes, mayStumble: reader.mayStumble };
    });
  }

  private async whileReachable<Read extends Part | KeysPart | number>(
    read: () => Promise<Read | undefined>,
  ): Promise<Read | undefined> {
    try {
      await this.acquirePermit();
      const part = await read();
      if (part !== undefined) this.hasBegun = true;
      if (typeof part === "object" && "result" in part && part.result === "lost") this.breakOff();
      return part;
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      const mayPass = error.kind === "unavailable" || (error.kind === "storage_exhausted" && this.hasBegun);
      if (!mayPass) throw error;
      return undefined;
    } finally {
      if (this.watcher.isOver) this.close();
    }
  }

  private async acquirePermit(): Promise<void> {
    this.releasePermit ??= await this.source.readerPermits.acquire(this.turn);
  }

  private async openReader(): Promise<Reader | undefined> {
    const { source, watcher } = this;
    if (watcher.isOver) return undefined;
    await this.checkUnbroken();
    const reader = await source.openReader(this.subject, { sequence: watcher.position + 1 });
    this.hasBegun = true;
    if (!this.watcher.isOver) return reader;
    void reader.close();
    return undefined;
  }

  private async checkUnbroken(): Promise<void> {
    const { source, watcher, plan } = this;
    if (!this.isBroken) return;
    if (watcher.position > 0) await source.checkStillUsable(watcher.position + 1, plan.created);
    this.isBroken = false;
  }

  private joinSnapshot(): SharedSnapshot {
    const { source, plan, watcher } = this;
    const keepsOne = plan.historyDepth === 1;
    const { keysOnly } = watcher;
    return (this.snapshot ??= source.joinSnapshot(this.subjects, this.subject, {
      keepsOne,
      keysOnly,
      upTo: plan.upTo,
    }));
  }
}

/** What one catch-up reads from the storage: its part in a shared snapshot, or changes with a reader of its own. Holds one reader permit meanwhile. */
import { KvError } from "../../kv/errors.js";
import type { Change } from "../read/delivery.js";
import type { DirectAnswer } from "../read/direct-get.js";
import type { Reader } from "../read/stream-reader.js";
import type { CatchUpPlan } from "./catch-up-plan.js";
import type { Part, SharedSnapshot } from "./shared-snapshot.js";
import type { Source } from "./source.js";
import type { Watcher } from "./watcher.js";

type Accept = (change: Change) => void;

export class CatchUpReads {
  private snapshot: SharedSnapshot | undefined;
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

  private async whileReachable(read: () => Promise<Part | undefined>): Promise<Part | undefined> {
    try {
      await this.acquirePermit();
      const part = await read();
      if (part !== undefined) this.hasBegun = true;
      if (part?.result === "lost") this.breakOff();
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

/**
 * The first part of a watch, before live changes: a snapshot, the history, or the changes since a revision.
 *
 * A reader reads the stored entries in order. When it finds no more, it has passed every revision that was known when it was asked. If the
 * hub's memory of recent changes has everything after that, the watcher gets it and becomes live in one step (the splice): without a gap,
 * at any rate of writes. Otherwise the reader continues.
 *
 * A snapshot ends at the revision that the bucket had when the watch began, because its reader reads only the newest entry of each key, but
 * the watch sends every later change. These come from memory or from a second reader.
 *
 * While the watcher's queue is full, the catch-up waits; after a while it closes its reader, and later resumes from its position.
 */
import { KvError } from "../../kv/errors.js";
import { matchesAny, serverSubjects } from "../../kv/filter.js";
import type { Change } from "../read/delivery.js";
import { coveringSubject } from "../read/covering-subject.js";
import { type Delay, delayed } from "../feed/delay.js";
import type { CatchUpPlan, LiveChanges } from "./catch-up-plan.js";
import { MissingRevisions } from "./missing-revisions.js";
import { CatchUpReads } from "./catch-up-reads.js";
import type { Source } from "./source.js";
import type { Watcher } from "./watcher.js";

/** How long a reader stays open while the watcher's queue is full. */
const IDLE_READER_MS = 2_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 500;
/** The interval of reads from a replica that lags behind. */
const LAG_RETRY_MS = 20;

export class CatchUp {
  private readonly subject: string;
  private inSnapshot: boolean;
  private readonly reads: CatchUpReads;
  private pause: Delay | undefined;
  private isEndMarked = false;
  private triesDirectGet: boolean;
  private readonly missing: MissingRevisions;

  constructor(
    private readonly live: LiveChanges,
    private readonly source: Source,
    private readonly watcher: Watcher,
    private readonly plan: CatchUpPlan,
  ) {
    const subjects = serverSubjects(watcher.filters);
    this.subject = coveringSubject(subjects);
    this.reads = new CatchUpReads(source, watcher, plan, subjects, this.subject);
    this.inSnapshot = plan.kind === "snapshot";
    this.triesDirectGet = source.mayReadAtOnce(subjects, plan.subjects);
    const after = plan.kind === "changes" ? watcher.position : plan.upTo;
    const isUnfiltered = this.subject === ">";
    this.missing = new MissingRevisions(watcher, source, isUnfiltered, after, plan.compactedTo);
  }

  /** Tries to catch up from memory alone. True: the watcher is live. False: call `run`. */
  tryFromMemory(): boolean {
    const { live, watcher, plan } = this;
    if (plan.kind === "changes") {
      if (!live.remembers(watcher.position)) return false;
      if (!this.replay() || watcher.position < plan.upTo) return false;
    } else if (!plan.isEmpty || !live.remembers(plan.upTo)) {
      return false;
    }
    this.markEnd();
    return this.goLive();
  }

  /** Runs until the watcher is live or has ended. Never throws: an error ends the watcher. */
  async run(): Promise<void> {
    this.watcher.isCatchingUp = true;
    try {
      let retryMs = RETRY_MS_MIN;
      while (!this.watcher.isOver) {
        const step = await this.step();
        if (step === "live") return;
        if (step === "again") retryMs = RETRY_MS_MIN;
        if (step !== "away") continue;
        await this.wait(retryMs);
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
      }
    } catch (error) {
      this.watcher.endAfterQueue(
        error instanceof KvError
          ? error
          : new KvError("internal", "The watch failed because of an internal error.", { cause: error }),
      );
    } finally {
      this.watcher.isCatchingUp = false;
      this.stop();
    }
  }

  /** Releases everything. */
  stop(): void {
    this.pause?.cancel();
    this.reads.stop();
  }

  /** Reads once. `away`: the storage did not answer. */
  private async step(): Promise<"again" | "away" | "live"> {
    const { watcher, live, source, plan } = this;
    if (!(await this.waitForCapacity())) return "again";
    if (this.inSnapshot && this.triesDirectGet) return this.readByDirectGet();
    if (!this.inSnapshot && live.remembers(watcher.position)) return this.continueFromMemory();
    const readUpTo = this.inSnapshot ? plan.upTo : Math.max(plan.upTo, live.position);
    const accept = (change: Change): void => this.accept(change);
    const part = await (this.inSnapshot ? this.reads.snapshotPart(accept) : this.reads.changes(accept));
    if (part === undefined) return watcher.isOver ? "again" : "away";
    const { result, changes, mayStumble } = part;
    if (result === "lost") return "away";
    if (!this.inSnapshot || watcher.position < plan.upTo) {
      if (result === "more" || (mayStumble && changes.length > 0)) return "again";
      const isProven = !source.isClustered && !mayStumble;
      if (!isProven && !(await source.hasReadUpTo(this.subject, watcher.position, readUpTo))) {
        if (!mayStumble) await this.wait(LAG_RETRY_MS);
        return "again";
      }
    }
    if (!this.inSnapshot && !(await this.missing.hasRead(readUpTo))) return "away";
    return this.finishRead(readUpTo) ? "live" : "again";
  }

  /** Queues the changes in memory, as far as the watcher has capacity. */
  private async continueFromMemory(): Promise<"again" | "away" | "live"> {
    this.reads.close();
    if (!(await this.missing.hasRead(this.watcher.position))) return "away";
    if (!this.live.remembers(this.watcher.position)) return "again";
    this.replay();
    if (this.watcher.position < this.plan.upTo) {
      // There was no room, or the feed is not there yet.
      if (this.watcher.hasCapacity()) await this.wait(LAG_RETRY_MS);
      return "again";
    }
    this.markEnd();
    return this.watcher.hasCapacity() && this.goLive() ? "live" : "again";
  }

  private replay(): boolean {
    const isComplete = this.live.replay(this.watcher);
    this.missing.replayed();
    return isComplete;
  }

  private goLive(): boolean {
    const isLive = this.live.goLive(this.watcher);
    this.missing.replayed();
    return isLive;
  }

  /** Reads a small snapshot, or the beginning of a larger one, with one request. */
  private async readByDirectGet(): Promise<"again" | "away" | "live"> {
    const { watcher, plan } = this;
    let answer;
    try {
      answer = await this.reads.snapshotAtOnce();
    } catch {
      return "away";
    }
    if (watcher.isOver) return "again";
    this.triesDirectGet = false;
    for (const change of answer?.changes ?? []) this.accept(change);
    return answer?.isCut === false && this.finishRead(plan.upTo) ? "live" : "again";
  }

  /** Every change up to this revision was read. Returns whether the watcher is live. */
  private finishRead(revision: number): boolean {
    const { watcher, live } = this;
    if (watcher.isOver) return false;
    this.markEnd();
    watcher.advance(revision);
    if (watcher.hasCapacity() && live.remembers(watcher.position) && this.goLive()) return true;
    if (this.inSnapshot) {
      this.inSnapshot = false;
      this.reads.close();
    }
    return false;
  }

  /** Waits until the watcher has capacity, and closes the reader if that takes long. Returns true if it did not wait. */
  private async waitForCapacity(): Promise<boolean> {
    const { watcher } = this;
    if (watcher.hasCapacity()) return true;
    const capacity = watcher.capacity();
    this.pause = delayed(IDLE_READER_MS);
    await Promise.race([capacity, this.pause.over]);
    this.pause.cancel();
    if (!watcher.isOver && !watcher.hasCapacity()) {
      this.reads.breakOff();
      await capacity;
    }
    return false;
  }

  private accept(change: Change): void {
    const { watcher, plan } = this;
    const isPastSnapshot = change.revision > plan.upTo;
    if (!this.inSnapshot) this.missing.hasReadBefore(Math.min(change.revision, plan.upTo + 1));
    if (isPastSnapshot) this.markEnd();
    if (watcher.isOver || change.revision <= watcher.position || (this.inSnapshot && isPastSnapshot)) return;
    if (!this.inSnapshot) this.missing.hasReadBefore(change.revision);
    const isGone = change.isTombstone || change.expiresAtMs(plan.ageMsMax) <= plan.nowMs;
    const isShown = matchesAny(watcher.filters, change.storedKey) && !(this.inSnapshot && isGone);
    if (isShown) watcher.offer(change, this.inSnapshot ? "snapshot" : "reader");
    else watcher.advance(change.revision);
  }

  private markEnd(): void {
    if (this.isEndMarked) return;
    this.isEndMarked = true;
    const revision = Math.max(this.plan.upTo, this.watcher.position);
    this.watcher.advance(revision);
    this.watcher.mark({
      type: "snapshot_end",
      revision: BigInt(revision),
      bucketCreatedAtMs: this.plan.bucketCreatedAtMs,
    });
  }

  private async wait(timeMs: number): Promise<void> {
    if (this.watcher.isOver) return;
    this.pause = delayed(timeMs);
    await this.pause.over;
  }
}

/**
 * The first part of a watch, before live changes: a snapshot, the history, or the changes since a revision.
 *
 * A reader reads the stored entries in order. When it finds no more, it has passed every revision that was known when it was asked. If the
 * hub's memory of recent changes has everything after that, the watcher gets it and becomes live in one step (the splice): without a gap,
 * at any rate of writes. Otherwise the reader continues.
 *
 * A snapshot is read up to the revision that the bucket had when the watch began. The watch sends every later change: from memory or from a
 * second reader.
 *
 * An entry that is replaced before its turn is not read: the client gets the newer one. The mark of the end therefore names a revision that the
 * bucket had after the last read. What was replaced before it has a later change up to the mark, so at the mark the client has every key
 * that is live. The same holds for what the feed could not show because it was replaced before.
 *
 * While the watcher's queue is full, the catch-up waits; after a while it closes its reader, and later resumes from its position.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
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
  /** Whether nothing was read from the storage, or the bucket's revision after the last read is known: it is `plan.upTo`. */
  private isEndKnown = true;
  private triesDirectGet: boolean;
  /** Whether the snapshot comes from the key index, with the revision that it then has. */
  private fromIndex: boolean;
  private indexedAt: number | undefined;
  private missing: MissingRevisions;

  constructor(
    private readonly live: LiveChanges,
    private readonly source: Source,
    private readonly watcher: Watcher,
    private plan: CatchUpPlan,
  ) {
    const subjects = serverSubjects(watcher.filters);
    this.subject = coveringSubject(subjects);
    this.reads = new CatchUpReads(source, watcher, plan, subjects, this.subject);
    this.inSnapshot = plan.kind === "snapshot";
    this.triesDirectGet = source.mayReadAtOnce(subjects, plan.subjects);
    this.fromIndex =
      this.inSnapshot && watcher.keysOnly && source.readsKeysFromIndex(watcher.filters, plan.subjects);
    this.missing = this.missingAfter(plan.kind === "changes" ? watcher.position : plan.upTo);
  }

  private missingAfter(revision: number): MissingRevisions {
    const { watcher, source, plan, subject } = this;
    return new MissingRevisions(watcher, source, subject === ">", revision, plan.compactedTo);
  }

  /** Tries to catch up from memory alone. True: the watcher is live. False: call `run`. */
  tryFromMemory(): boolean {
    const { live, watcher, plan } = this;
    if (plan.kind === "changes") {
      if (!live.remembers(watcher.position)) return false;
      if (!this.replay() || watcher.position < plan.upTo || !this.isEndKnown) return false;
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
        if (step === "again") {
          retryMs = RETRY_MS_MIN;
          // Other work goes on, even if a step waited for nothing.
          await nextTurn();
          continue;
        }
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
    if (this.inSnapshot && this.fromIndex) return this.readFromIndex();
    if (!this.inSnapshot && live.remembers(watcher.position)) return this.continueFromMemory();
    this.isEndKnown = false;
    if (this.inSnapshot && this.triesDirectGet) return this.readByDirectGet();
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
    return this.finishRead(readUpTo);
  }

  /** Queues the changes in memory, as far as the watcher has capacity. */
  private async continueFromMemory(): Promise<"again" | "away" | "live"> {
    this.reads.close();
    const { live, watcher } = this;
    if (!(await this.missing.hasRead(watcher.position)) || !(await this.findEnd())) return "away";
    if (!live.remembers(watcher.position)) return "again";
    this.replay();
    if (!this.isEndKnown && !this.isEndMarked) return "again";
    if (watcher.position < this.plan.upTo) {
      // There was no room, or the feed is not there yet.
      if (watcher.hasCapacity()) await live.appliedThrough(this.plan.upTo);
      return "again";
    }
    this.markEnd();
    return watcher.hasCapacity() && this.goLive() ? "live" : "again";
  }

  private replay(): boolean {
    const { live, watcher } = this;
    const { position } = watcher;
    const isComplete = live.replay(watcher);
    this.missing.replayed();
    // The change that superseded them has been stored, maybe after the revision that is taken for the end.
    if (watcher.omittedThrough > position) this.isEndKnown = false;
    return isComplete;
  }

  private goLive(): boolean {
    const isLive = this.live.goLive(this.watcher);
    this.missing.replayed();
    return isLive;
  }

  private async readFromIndex(): Promise<"again" | "away" | "live"> {
    const { watcher } = this;
    const part = await this.reads.keys(this.indexedAt);
    if (part === undefined) return watcher.isOver ? "again" : "away";
    if (!part.isIndexed) {
      this.fromIndex = false;
      return "again";
    }
    if (this.indexedAt === undefined) {
      this.indexedAt = part.revision;
      this.plan = { ...this.plan, upTo: part.revision };
      this.missing = this.missingAfter(part.revision);
    }
    if (part.isLater) this.isEndKnown = false;
    for (const entry of part.entries) watcher.offerEntry(entry);
    return part.isDone ? this.finishRead(part.revision) : "again";
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
    return answer?.isCut === false ? this.finishRead(plan.upTo) : "again";
  }

  /** Every change up to this revision was read, if it was still stored. */
  private async finishRead(revision: number): Promise<"again" | "away" | "live"> {
    const { watcher, live } = this;
    watcher.advance(revision);
    if (this.inSnapshot) {
      this.inSnapshot = false;
      this.reads.close();
    }
    if (!(await this.findEnd())) return "away";
    if (watcher.position < this.plan.upTo) return "again";
    this.markEnd();
    return watcher.hasCapacity() && live.remembers(watcher.position) && this.goLive() ? "live" : "again";
  }

  /** Finds out which revision the bucket has after the last read. Returns false if the storage does not answer. */
  private async findEnd(): Promise<boolean> {
    if (this.isEndMarked || this.isEndKnown) return true;
    const revision = await this.reads.newestRevision();
    if (revision === undefined) return false;
    this.isEndKnown = true;
    this.plan = { ...this.plan, upTo: Math.max(this.plan.upTo, revision) };
    return true;
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
    if (!this.inSnapshot) this.missing.hasReadBefore(change.revision);
    if (watcher.isOver || change.revision <= watcher.position) return;
    if (this.inSnapshot && change.revision > plan.upTo) {
      // The reader is past the snapshot's last revision.
      watcher.advance(plan.upTo);
      return;
    }
    const isGone = change.isTombstone || change.expiresAtMs(plan.ageMsMax) <= plan.nowMs;
    const isShown = matchesAny(watcher.filters, change.storedKey) && !(this.inSnapshot && isGone);
    if (isShown) watcher.offer(change, this.inSnapshot ? "snapshot" : "reader");
    else watcher.advance(change.revision);
  }

  private markEnd(): void {
    if (this.isEndMarked || this.watcher.isOver) return;
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

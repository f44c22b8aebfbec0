/**
 * The first part of a watch, up to where the live feed takes over: present values, history, or changes since a revision.
 *
 * A reader brings it, in order. When it finds nothing more, it has passed every revision that was known when it was asked. What the feed
 * brought after that is in the hub's memory of recent changes, or else the reader goes on: so the watcher gets these and is live, in one
 * step, without a gap and without holding anything of its own back, at any rate of writes.
 *
 * A snapshot is read up to the revision that the bucket had when the watch began, and no further: its reader shows only the newest of
 * each key, and what came later is to be seen change by change. A second reader brings that, where memory does not have it.
 *
 * A watcher that does not take what it gets gives its reader back; the reading goes on from where it was when there is room again.
 */
import { KvError } from "../../kv/errors.js";
import { matchesAny, serverSubjects } from "../../kv/filter.js";
import type { Change } from "../read/delivery.js";
import { coveringSubject } from "../read/covering-subject.js";
import { type Delay, delayed } from "../feed/delay.js";
import { Accounting } from "./accounting.js";
import { CatchUpReads } from "./catch-up-reads.js";
import type { Source } from "./source.js";
import type { Watcher } from "./watcher.js";

/** What a catch-up needs of its hub. */
export interface LiveSide {
  /** Every change up to here came through the feed or is older than it. */
  readonly position: number;
  /** Whether memory has every change after this revision that the feed brought. */
  remembers(revision: number): boolean;
  /** Gives the watcher what memory has after its position, while there is room. Whether that was all. */
  replay(watcher: Watcher): boolean;
  /** The same, and then every change from now on. False: there is no room for all. */
  goLive(watcher: Watcher): boolean;
}

export interface CatchUpPlan {
  readonly kind: "snapshot" | "history" | "changes";
  /** The bucket's newest revision when the watch began. */
  readonly upTo: number;
  /** Whether it held nothing then. */
  readonly isEmpty: boolean;
  /** When the bucket was made: as the server says it, and in milliseconds. */
  readonly created: string;
  readonly bucketCreatedAtMs: number;
  /** Revisions that the bucket keeps of each key. */
  readonly historyDepth: number;
  /** Up to which revision tombstones were compacted then. */
  readonly compactedTo: number;
  /** How long entries live, in milliseconds; 0: forever. */
  readonly ageMsMax: number;
  /** When the watch began, by the storage's clock. */
  readonly nowMs: number;
}

/** How long a reader waits for a watcher that does not take what it gets. */
const PARK_MS = 2_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 500;
/** How long until a copy that lags behind is read again. */
const LAG_RETRY_MS = 20;

export class CatchUp {
  private readonly subject: string;
  private inSnapshot: boolean;
  private readonly reads: CatchUpReads;
  private pause: Delay | undefined;
  private isEndMarked = false;
  private wasAskedAtOnce = false;
  private readonly accounting: Accounting;

  constructor(
    private readonly live: LiveSide,
    private readonly source: Source,
    private readonly watcher: Watcher,
    private readonly plan: CatchUpPlan,
  ) {
    const subjects = serverSubjects(watcher.filters);
    this.subject = coveringSubject(subjects);
    this.reads = new CatchUpReads(source, watcher, plan, subjects, this.subject);
    this.inSnapshot = plan.kind === "snapshot";
    const after = plan.kind === "changes" ? watcher.position : plan.upTo;
    const isUnfiltered = this.subject === ">";
    this.accounting = new Accounting(watcher, source, isUnfiltered, after, plan.compactedTo);
  }

  /** Takes what memory has. True where that is all there is: the watcher is live. False: it has to run. */
  skip(): boolean {
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

  /** Runs until the watcher is live or over. Never throws: what goes wrong ends the watcher. */
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
          : new KvError("internal", "The watch failed for a reason of our own.", { cause: error }),
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
    if (!(await this.waitForRoom())) return "again";
    if (this.inSnapshot && !this.wasAskedAtOnce) return this.readAtOnce();
    if (!this.inSnapshot && live.remembers(watcher.position)) return this.takeMemory();
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
    if (!this.inSnapshot && !(await this.accounting.hasRead(readUpTo))) return "away";
    return this.passed(readUpTo) ? "live" : "again";
  }

  /** Takes from memory what there is room for. */
  private async takeMemory(): Promise<"again" | "away" | "live"> {
    this.reads.close();
    if (!(await this.accounting.hasRead(this.watcher.position))) return "away";
    if (!this.live.remembers(this.watcher.position)) return "again";
    this.replay();
    if (this.watcher.position < this.plan.upTo) {
      // There was no room, or the feed is not there yet.
      if (this.watcher.hasRoom()) await this.wait(LAG_RETRY_MS);
      return "again";
    }
    this.markEnd();
    return this.watcher.hasRoom() && this.goLive() ? "live" : "again";
  }

  private replay(): boolean {
    const isComplete = this.live.replay(this.watcher);
    this.accounting.replayed();
    return isComplete;
  }

  private goLive(): boolean {
    const isLive = this.live.goLive(this.watcher);
    this.accounting.replayed();
    return isLive;
  }

  /** Gets a small snapshot by one request, or the beginning of a larger one. */
  private async readAtOnce(): Promise<"again" | "away" | "live"> {
    const { watcher, plan } = this;
    let answer;
    try {
      answer = await this.reads.snapshotAtOnce();
    } catch {
      return "away";
    }
    if (watcher.isOver) return "again";
    this.wasAskedAtOnce = true;
    for (const change of answer?.changes ?? []) this.accept(change);
    return answer?.isCut === false && this.passed(plan.upTo) ? "live" : "again";
  }

  /** Every change up to this revision was read. */
  private passed(revision: number): boolean {
    const { watcher, live } = this;
    if (watcher.isOver) return false;
    this.markEnd();
    watcher.advance(revision);
    if (watcher.hasRoom() && live.remembers(watcher.position) && this.goLive()) return true;
    if (this.inSnapshot) {
      this.inSnapshot = false;
      this.reads.close();
    }
    return false;
  }

  /** False: look again. A watcher that stays full gives its reader back meanwhile. */
  private async waitForRoom(): Promise<boolean> {
    const { watcher } = this;
    if (watcher.hasRoom()) return true;
    const room = watcher.room();
    this.pause = delayed(PARK_MS);
    await Promise.race([room, this.pause.over]);
    this.pause.cancel();
    if (!watcher.isOver && !watcher.hasRoom()) {
      this.reads.breakOff();
      await room;
    }
    return false;
  }

  private accept(change: Change): void {
    const { watcher, plan } = this;
    const isPastSnapshot = change.revision > plan.upTo;
    if (!this.inSnapshot) this.accounting.comesTo(Math.min(change.revision, plan.upTo + 1));
    if (isPastSnapshot) this.markEnd();
    if (watcher.isOver || change.revision <= watcher.position || (this.inSnapshot && isPastSnapshot)) return;
    if (!this.inSnapshot) this.accounting.comesTo(change.revision);
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

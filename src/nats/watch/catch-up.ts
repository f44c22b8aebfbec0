/**
 * The first part of a watch, up to where the live feed takes over: present values, history, or changes since a revision.
 *
 * A reader brings it, in order, until there is nothing more at present. Then the watcher is attached to the live feed, whose changes
 * are held back; the reader goes on until it has passed the point where the feed was when that began. What was held follows, less what
 * the reader brought, and the reader is let go. Nothing lies between the two, at any rate of writes, and what is held is bounded: if
 * too much comes meanwhile, it is thrown away and the reader just goes on.
 *
 * A watcher that does not take what it gets gives its reader back; the reading goes on from where it was when there is room again.
 */
import { KvError } from "../../kv/errors.js";
import { matchesAny, serverSubjects } from "../../kv/filter.js";
import { operationOf } from "../records.js";
import type { Change } from "./delivery.js";
import { type Delay, delayed } from "./delay.js";
import type { Reader, ReadStart } from "./reader.js";
import type { Slots } from "./slots.js";
import type { Watcher } from "./watcher.js";

/** What a catch-up needs of its hub. */
export interface CatchUpHost {
  /** Every change up to here was given to those attached. */
  readonly position: number;
  attach(held: HeldChanges): void;
  detach(held: HeldChanges): void;
  /** The watcher gets changes by itself from now on, from those after its position. */
  goLive(watcher: Watcher): void;
  openReader(subjects: readonly string[], start: ReadStart): Promise<Reader>;
  /** Whether a reader that found nothing more can't have missed a change at or before this revision. */
  hasReadUpTo(subjects: readonly string[], after: number, upTo: number): Promise<boolean>;
  /** Throws `revision_compacted` or `bucket_not_found` where reading can't go on from here. */
  checkUsable(next: number): Promise<void>;
  readonly slots: Slots;
  readonly batchMax: number;
}

export interface CatchUpPlan {
  readonly kind: "snapshot" | "history" | "changes";
  /** The bucket's newest revision when the watch began. */
  readonly upTo: number;
  readonly bucketCreatedAtMs: number;
  /** Revisions that the bucket keeps of each key. */
  readonly historyDepth: number;
}

const PARK_MS = 2_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 500;
const LAG_RETRY_MS = 20;

/** Live changes that wait for the reader to pass the point where they begin. */
export class HeldChanges {
  changes: Change[] = [];
  isOverfull = false;

  constructor(
    /** The feed's position when this began. */
    readonly from: number,
    private readonly changesMax: number,
  ) {}

  offer(change: Change): void {
    if (this.isOverfull || this.changes.at(-1)?.revision === change.revision) return;
    if (this.changes.length < this.changesMax) {
      this.changes.push(change);
    } else {
      this.changes = [];
      this.isOverfull = true;
    }
  }
}

export class CatchUp {
  private readonly subjects: readonly string[];
  private reader: Reader | undefined;
  private held: HeldChanges | undefined;
  private releaseSlot: (() => void) | undefined;
  private pause: Delay | undefined;
  private readonly turn: { onGiveUp: (() => void) | undefined } = { onGiveUp: undefined };
  private isEndMarked = false;
  private hasBegun = false;

  constructor(
    private readonly host: CatchUpHost,
    private readonly watcher: Watcher,
    private readonly plan: CatchUpPlan,
  ) {
    this.subjects = serverSubjects(watcher.filters);
  }

  /** Runs until the watcher is live or over. Never throws: what goes wrong ends the watcher. */
  async run(): Promise<void> {
    try {
      await this.read();
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      this.watcher.endAfterQueue(error);
    } finally {
      this.stop();
    }
  }

  /** Lets go of everything. */
  stop(): void {
    this.turn.onGiveUp?.();
    this.pause?.cancel();
    this.letGoOfHeld();
    this.closeReader();
  }

  /** The connection is gone. */
  interrupt(): void {
    this.reader?.interrupt();
  }

  private async read(): Promise<void> {
    const { watcher, host } = this;
    let retryMs = RETRY_MS_MIN;
    while (!watcher.isOver) {
      if (!(await this.makeReady())) continue;
      const { reader } = this;
      if (reader === undefined) {
        await this.wait(retryMs);
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
        continue;
      }
      const { held } = this;
      const result = await reader.pull(host.batchMax, (change) => this.accept(change));
      if (result === "lost") {
        this.closeReader();
        await this.wait(retryMs);
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
        continue;
      }
      retryMs = RETRY_MS_MIN;
      if (held?.isOverfull === true) this.letGoOfHeld();
      if (result === "end" && (await this.endOfReading(held))) return;
    }
  }

  /** Takes a place, waits for room and opens a reader. False: look again. Without a reader after that: the storage is away. */
  private async makeReady(): Promise<boolean> {
    const { watcher, host } = this;
    if (!watcher.hasRoom) {
      this.pause = delayed(PARK_MS);
      await Promise.race([watcher.room(), this.pause.over]);
      this.pause.cancel();
      if (watcher.isOver) return false;
      if (!watcher.hasRoom) {
        this.letGoOfHeld();
        this.closeReader();
        await watcher.room();
        return false;
      }
    }
    if (this.reader !== undefined) return true;
    this.releaseSlot ??= await host.slots.take(this.turn);
    if (watcher.isOver) {
      this.closeReader();
      return false;
    }
    await this.openReader();
    return !watcher.isOver;
  }

  private async openReader(): Promise<void> {
    const { host, watcher, plan } = this;
    try {
      if (this.hasBegun) await host.checkUsable(watcher.position + 1);
      const reader = await host.openReader(this.subjects, this.readStart());
      this.hasBegun = true;
      if (watcher.isOver) void reader.close();
      else this.reader = reader;
    } catch (error) {
      if (error instanceof KvError && error.kind === "unavailable") return;
      if (this.hasBegun && error instanceof KvError && error.kind === "storage_exhausted") return;
      throw error;
    }
    void plan;
  }

  /**
   * With a history of 1, all that is stored from a point on is the newest of each key. With more, a snapshot that is broken off is read
   * again from its start, and what the watcher has is passed over.
   */
  private readStart(): ReadStart {
    const { plan, watcher } = this;
    const inSnapshot = plan.kind === "snapshot" && watcher.position < plan.upTo;
    const fromStart = !this.hasBegun || plan.historyDepth !== 1;
    return inSnapshot && fromStart ? "newest_of_each" : { sequence: watcher.position + 1 };
  }

  private accept(change: Change): void {
    const { watcher, plan } = this;
    if (change.revision <= watcher.position || watcher.isOver) return;
    if (change.revision > plan.upTo) this.markEnd();
    const isShown =
      matchesAny(watcher.filters, change.storedKey) &&
      !(plan.kind === "snapshot" && change.revision <= plan.upTo && change.isTombstone);
    if (isShown) watcher.offer(change, true);
    else watcher.advance(change.revision);
  }

  /** The reader found nothing more. True when the watcher is live; otherwise reading goes on. */
  private async endOfReading(held: HeldChanges | undefined): Promise<boolean> {
    const { host, watcher, plan } = this;
    const target = Math.max(plan.upTo, held?.from ?? 0);
    if (!(await host.hasReadUpTo(this.subjects, watcher.position, target))) {
      await this.wait(LAG_RETRY_MS);
      return false;
    }
    if (watcher.isOver) return true;
    this.markEnd();
    watcher.advance(target);
    if (held === undefined ? host.position > watcher.position : held !== this.held || held.isOverfull) {
      this.letGoOfHeld();
      this.held = new HeldChanges(host.position, host.batchMax);
      host.attach(this.held);
      return false;
    }
    for (const change of held?.changes ?? []) watcher.offer(change, true);
    this.letGoOfHeld();
    host.goLive(watcher);
    return true;
  }

  private markEnd(): void {
    if (this.isEndMarked) return;
    this.isEndMarked = true;
    this.watcher.advance(this.plan.upTo);
    this.watcher.mark({
      type: "snapshot_end",
      revision: BigInt(this.plan.upTo),
      bucketCreatedAtMs: this.plan.bucketCreatedAtMs,
    });
  }

  private letGoOfHeld(): void {
    if (this.held !== undefined) this.host.detach(this.held);
    this.held = undefined;
  }

  private closeReader(): void {
    void this.reader?.close();
    this.reader = undefined;
    this.releaseSlot?.();
    this.releaseSlot = undefined;
  }

  private async wait(timeMs: number): Promise<void> {
    if (this.watcher.isOver) return;
    this.pause = delayed(timeMs);
    await this.pause.over;
  }
}

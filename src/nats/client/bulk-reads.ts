/**
 * The bulk reads under way: a few at a time, so that neither nats-server nor the event loop is busy with them alone. The callers take turns,
 * and each read starts in a turn of the bulk scheduler.
 */
import { type BulkScheduler, bulkScheduler } from "../../kv/bulk-scheduler.js";
import { FairQueue } from "../../kv/fair-queue.js";

/** Enough to keep nats-server busy while the answer of another read is handled. */
const READS_MAX = 2;

interface BulkRead {
  readonly flow: unknown;
  readonly expectedBytes: number;
  readonly isWanted: () => boolean;
  readonly start: () => void;
}

export class BulkReads {
  /** Reads that have started and not ended. */
  inFlight = 0;
  /** The most that ever were. */
  peak = 0;
  private readonly waiting = new FairQueue<BulkRead>();

  constructor(
    readonly readsMax: number = READS_MAX,
    private readonly scheduler: BulkScheduler = bulkScheduler,
  ) {}

  /** Calls `start` when it is the read's turn, unless `isWanted` says that its caller has given up. Call `end` when it is over. */
  start(read: BulkRead): void {
    this.waiting.push(read.flow, read);
    this.startNext();
  }

  end(): void {
    this.inFlight--;
    this.startNext();
  }

  private startNext(): void {
    while (this.inFlight < this.readsMax) {
      const read = this.waiting.shift();
      if (read === undefined) return;
      if (!read.isWanted()) continue;
      this.inFlight++;
      if (this.inFlight > this.peak) this.peak = this.inFlight;
      this.scheduler.run(read.flow, read.expectedBytes, read.start);
    }
  }
}

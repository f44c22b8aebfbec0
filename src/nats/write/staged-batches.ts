/** The ids of one stream's batches that are staged in memory. */
import type { BatchStaging, StagedBatch } from "../embedded/batch-staging.js";

/** A round seldom has more than one batch with checks and one without. */
const PREPARED_MAX = 2;

/** They are prepared beside a batch for the next ones, so that none waits for it. */
export class StagedBatches {
  private readonly ready: StagedBatch[] = [];
  /** Batches that got no answer: a restarted server finishes them from what is staged. */
  private readonly unanswered: StagedBatch[] = [];
  private preparing = 0;
  private isClosed = false;

  constructor(
    private readonly staging: BatchStaging | undefined,
    private readonly stream: string,
    private readonly batchId: () => string,
  ) {}

  get isReady(): boolean {
    return this.ready.length > 0;
  }

  /** A prepared id for a batch of so many bytes. */
  take(bytes: number): StagedBatch | undefined {
    const taken = this.ready[0]?.hold(bytes) === true ? this.ready.shift() : undefined;
    this.prepare();
    return taken;
  }

  /** A batch has ended. `isAnswered`: the server applied or refused it, so it is not restarting. */
  ended(batch: StagedBatch, isAnswered: boolean): void {
    this.unanswered.push(batch);
    if (isAnswered) for (const over of this.unanswered.splice(0)) void over.release();
  }

  /** Gives back what is prepared. */
  close(): void {
    this.isClosed = true;
    for (const batch of this.ready.splice(0)) void batch.release();
  }

  private prepare(): void {
    const { staging } = this;
    if (staging === undefined) return;
    for (; this.ready.length + this.preparing < PREPARED_MAX; this.preparing++)
      void staging.prepare(this.stream, this.batchId()).then((batch) => {
        this.preparing--;
        if (this.isClosed) void batch?.release();
        else if (batch !== undefined) this.ready.push(batch);
      });
  }
}

/**
 * Where a single nats-server stages the messages of an atomic batch before it applies them.
 *
 * By default that is a store of its own on disk, for which the server creates and syncs several files: it can then finish a batch that a
 * power cut interrupted (`newBatchStore` in its source). Writes that have nothing to do with each other and only share a sync need no such
 * promise: each is stored or not, and none was acknowledged. So their batches may be staged in memory.
 */
export interface BatchStaging {
  /** Prepares staging in memory for one batch. Undefined: this batch is staged as the server does it. */
  prepare(stream: string, batchId: string): Promise<StagedBatch | undefined>;
}

/** A batch id with staging in memory. */
export interface StagedBatch {
  readonly id: string;
  /** Whether there is memory for a batch of so many bytes. If so, it is held until {@link release}. */
  hold(bytes: number): boolean;
  /** The batch has ended, or is not sent. Never rejects. */
  release(): Promise<void>;
}

/** A round seldom has more than one batch with checks and one without. */
const PREPARED_MAX = 2;

/** The prepared ids of one stream. They are prepared beside a batch for the next ones, so that none waits for it. */
export class StagedBatches {
  private readonly ready: StagedBatch[] = [];
  /** Batches that got no answer: a restarted server finishes them from what is staged. */
  private readonly unanswered: StagedBatch[] = [];
  private preparing = 0;

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
    for (const batch of this.ready.splice(0)) void batch.release();
  }

  private prepare(): void {
    const { staging } = this;
    if (staging === undefined) return;
    for (; this.ready.length + this.preparing < PREPARED_MAX; this.preparing++)
      void staging.prepare(this.stream, this.batchId()).then((batch) => {
        this.preparing--;
        if (batch !== undefined) this.ready.push(batch);
      });
  }
}

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

/** Whether this copy of the service takes calls: what probes ask, by HTTP (/readyz) and by grpc.health.v1. */
import { KvError } from "../kv/errors.js";

/** How often the storage is asked while somebody watches. */
const LOOK_INTERVAL_MS = 1_000;

export class Health {
  private isDraining = false;
  private isClosed = false;
  private asking: Promise<boolean> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly watches = new Set<HealthWatch>();

  /**
   * `ping` resolves when the storage answers, and rejects otherwise: soon, in both cases. `storageProblem` tells of a storage that failed
   * a write, and must not be used: undefined while there is none.
   */
  constructor(
    private readonly ping: () => Promise<void>,
    private readonly storageProblem: () => string | undefined = () => undefined,
  ) {}

  /** Whether it was told to stop. */
  get isStopping(): boolean {
    return this.isDraining;
  }

  /** Whether the storage failed a write, and waits for its disk. */
  hasStorageFailed(): boolean {
    return this.storageProblem() !== undefined;
  }

  /** Whether calls are answered now. Who asks at the same time shares one question to the storage. */
  async isServing(): Promise<boolean> {
    if (this.isDraining || this.hasStorageFailed()) return false;
    this.asking ??= this.ping()
      .then(
        () => true,
        () => false,
      )
      .finally(() => (this.asking = undefined));
    const answers = await this.asking;
    return answers && !this.hasStorageFailed() && !this.isDraining;
  }

  /** The answers as they change, beginning with the present one. */
  watch(): HealthWatch {
    const watch = new HealthWatch((over) => {
      this.watches.delete(over);
      if (this.watches.size === 0) this.stopLooking();
    });
    if (this.isClosed) {
      watch.fail();
      return watch;
    }
    this.watches.add(watch);
    this.timer ??= setInterval(() => void this.look(), LOOK_INTERVAL_MS).unref();
    void this.look();
    return watch;
  }

  /** The service is about to stop: from now on the answer is no. */
  stop(): void {
    this.isDraining = true;
    for (const watch of this.watches) watch.tell(false);
  }

  /** The last calls are being answered: watches end. */
  close(): void {
    this.stop();
    this.isClosed = true;
    this.stopLooking();
    for (const watch of [...this.watches]) watch.fail();
  }

  private async look(): Promise<void> {
    const isServing = await this.isServing();
    for (const watch of this.watches) watch.tell(isServing);
  }

  private stopLooking(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

/** One reader of the answers. A reader that is slow misses changes that were taken back, never the last one. */
export class HealthWatch implements AsyncIterableIterator<boolean> {
  private present: boolean | undefined;
  private told: boolean | undefined;
  private lastWord: KvError | undefined;
  private isOver = false;
  private wake: (() => void) | undefined;

  constructor(private readonly onOver: (watch: HealthWatch) => void) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  tell(isServing: boolean): void {
    this.present = isServing;
    this.wake?.();
  }

  /** Ends it when the last answer has been read. */
  fail(): void {
    this.lastWord = new KvError("shutting_down", "This copy of the service is stopping; ask another.");
    this.finish();
  }

  async next(): Promise<IteratorResult<boolean>> {
    for (;;) {
      if (this.present !== undefined && this.present !== this.told) {
        this.told = this.present;
        return { done: false, value: this.told };
      }
      if (this.isOver) break;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const { lastWord } = this;
    this.lastWord = undefined;
    if (lastWord !== undefined) throw lastWord;
    return { done: true, value: undefined };
  }

  return(): Promise<IteratorResult<boolean>> {
    this.told = this.present;
    this.lastWord = undefined;
    this.finish();
    return Promise.resolve({ done: true, value: undefined });
  }

  private finish(): void {
    if (!this.isOver) this.onOver(this);
    this.isOver = true;
    this.wake?.();
  }
}

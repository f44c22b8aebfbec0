/** The readiness of this replica of the service, for probes by HTTP (/readyz) and grpc.health.v1. */
import { KvError } from "../kv/errors.js";

/** How often the storage is pinged while a health watch is open. */
const CHECK_INTERVAL_MS = 1_000;

export class Health {
  private isDraining = false;
  private isClosed = false;
  private pinging: Promise<boolean> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly watches = new Set<HealthWatch>();

  /**
   * `ping` resolves if the storage answers and rejects otherwise; it must have a short timeout. `storageProblem` returns why the storage
   * must not be used after a failed write; undefined if it can be.
   */
  constructor(
    private readonly ping: () => Promise<void>,
    private readonly storageProblem: () => string | undefined = () => undefined,
  ) {}

  /** Whether the service is shutting down. */
  get isStopping(): boolean {
    return this.isDraining;
  }

  /** Whether the storage failed a write and waits for its disk to recover. */
  hasStorageFailed(): boolean {
    return this.storageProblem() !== undefined;
  }

  /** Whether the service is ready. Concurrent callers share one ping of the storage. */
  async isServing(): Promise<boolean> {
    if (this.isDraining || this.hasStorageFailed()) return false;
    this.pinging ??= this.ping()
      .then(
        () => true,
        () => false,
      )
      .finally(() => (this.pinging = undefined));
    const answers = await this.pinging;
    return answers && !this.hasStorageFailed() && !this.isDraining;
  }

  /** Emits the current state, then each change. */
  watch(): HealthWatch {
    const watch = new HealthWatch((ended) => {
      this.watches.delete(ended);
      if (this.watches.size === 0) this.stopChecking();
    });
    if (this.isClosed) {
      watch.fail();
      return watch;
    }
    this.watches.add(watch);
    this.timer ??= setInterval(() => void this.check(), CHECK_INTERVAL_MS).unref();
    void this.check();
    return watch;
  }

  /** Reports "not serving" from now on: the service is about to stop. */
  stop(): void {
    this.isDraining = true;
    for (const watch of this.watches) watch.update(false);
  }

  /** Ends all health watches. Called when the last calls finish. */
  close(): void {
    this.stop();
    this.isClosed = true;
    this.stopChecking();
    for (const watch of [...this.watches]) watch.fail();
  }

  private async check(): Promise<void> {
    const isServing = await this.isServing();
    for (const watch of this.watches) watch.update(isServing);
  }

  private stopChecking(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

/** One health watch. A slow reader may miss intermediate states, but never the last one. */
export class HealthWatch implements AsyncIterableIterator<boolean> {
  private current: boolean | undefined;
  private emitted: boolean | undefined;
  private finalError: KvError | undefined;
  private hasEnded = false;
  private wake: (() => void) | undefined;

  constructor(private readonly onEnded: (watch: HealthWatch) => void) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  update(isServing: boolean): void {
    this.current = isServing;
    this.wake?.();
  }

  /** Ends the watch after the last state has been read. */
  fail(): void {
    this.finalError = new KvError(
      "shutting_down",
      "This replica of the service is shutting down; use another one.",
    );
    this.finish();
  }

  async next(): Promise<IteratorResult<boolean>> {
    for (;;) {
      if (this.current !== undefined && this.current !== this.emitted) {
        this.emitted = this.current;
        return { done: false, value: this.emitted };
      }
      if (this.hasEnded) break;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const { finalError } = this;
    this.finalError = undefined;
    if (finalError !== undefined) throw finalError;
    return { done: true, value: undefined };
  }

  return(): Promise<IteratorResult<boolean>> {
    this.emitted = this.current;
    this.finalError = undefined;
    this.finish();
    return Promise.resolve({ done: true, value: undefined });
  }

  private finish(): void {
    if (!this.hasEnded) this.onEnded(this);
    this.hasEnded = true;
    this.wake?.();
  }
}

/**
 * Keeps a {@link KeyRing} current by watching the bucket of the keys. A change takes effect in each instance and worker of the service as
 * soon as its watch receives it. Reopens the watch when it ends; the new snapshot includes missed changes.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type CallContext, timeLeftMs } from "../kv/call-context.js";
import type { SystemBucket } from "../kv/store.js";
import type { WatchEvent } from "../kv/watch.js";
import { decodeRecord } from "./key-record.js";
import type { KeyRing } from "./key-ring.js";

/** Receives warnings for the operator. */
export interface AuthLog {
  warn(fields: object, message: string): void;
}

/** The timeout for loading the keys at startup. */
const LOAD_TIMEOUT_MS = 20_000;
const RETRY_WAIT_MS = 250;

interface Waiter {
  readonly revision: bigint;
  readonly resolve: () => void;
}

export class KeyFollower {
  private readonly closing = new AbortController();
  private readonly waiters = new Set<Waiter>();
  /** The ring includes all changes up to this revision. */
  private revision = -1n;
  /** The keys of the snapshot in progress; undefined: no snapshot is in progress. */
  private seen: Set<string> | undefined;
  private failure: unknown;

  constructor(
    private readonly bucket: SystemBucket,
    private readonly ring: KeyRing,
    private readonly log: AuthLog,
  ) {}

  /** Resolves when the keys are loaded; rejects if they can't be. */
  async start(): Promise<void> {
    void this.run();
    await this.reached(0n, performance.now() + LOAD_TIMEOUT_MS);
    if (this.revision >= 0n) return;
    const reason =
      this.failure instanceof Error ? this.failure.message : "the storage did not respond in time.";
    throw new Error(`The API keys can't be loaded from the storage: ${reason}`, { cause: this.failure });
  }

  close(): void {
    this.closing.abort();
    for (const { resolve } of this.waiters) resolve();
  }

  /** Resolves when the ring includes a revision, or at the deadline (in milliseconds of `performance.now()`). */
  async reached(revision: bigint, deadlineMs: number): Promise<void> {
    if (this.revision >= revision || this.closing.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, timeLeftMs({ deadlineMs }));
      const waiter = { revision, resolve: done };
      const { waiters } = this;
      function done(): void {
        clearTimeout(timer);
        waiters.delete(waiter);
        resolve();
      }
      waiters.add(waiter);
    });
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      const context: CallContext = { deadlineMs: performance.now() + LOAD_TIMEOUT_MS, signal };
      try {
        await this.bucket.ensure(context);
        this.seen = new Set();
        for await (const event of await this.bucket.watch(context)) this.apply(event);
      } catch (error) {
        if (!isAborted(signal)) this.recordFailure(error);
      }
      // Until the next snapshot, this process does not notice revoked keys.
      this.ring.isLoaded = false;
      await delay(RETRY_WAIT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private recordFailure(error: unknown): void {
    if (this.failure === undefined)
      this.log.warn({ err: error }, "the watch on the API keys failed; retrying");
    this.failure = error;
  }

  private apply(event: WatchEvent): void {
    if (event.type === "change") {
      const { key, value, operation, revision } = event.entry;
      if (operation === "put") this.set(key, value);
      else this.ring.delete(key);
      this.ring.lock();
      if (this.seen === undefined) this.advance(revision);
    } else if (event.type === "snapshot_end") {
      if (event.revision > 0n) this.ring.lock();
      this.ring.keepOnly(this.seen ?? new Set());
      this.seen = undefined;
      this.failure = undefined;
      this.ring.isLoaded = true;
      this.advance(event.revision);
    }
  }

  private set(id: string, value: Uint8Array): void {
    try {
      this.ring.set(decodeRecord(id, value));
      this.seen?.add(id);
    } catch (error) {
      this.ring.delete(id);
      this.log.warn({ err: error, id }, "a stored API key can't be read; it is not accepted");
    }
  }

  private advance(revision: bigint): void {
    this.revision = revision;
    for (const waiter of [...this.waiters]) if (waiter.revision <= revision) waiter.resolve();
  }
}

/** Reads the property in a function, so the compiler does not assume that it never changes. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

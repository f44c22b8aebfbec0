/** Clients that write keys of their own and remember each acknowledgement; and what of it is still stored. */
import { createHash } from "node:crypto";
import { Operation } from "@ironflow-kv/client/gen";
import { randomFrom, reasonOf, type Service, serviceAt } from "../workload.js";

export interface TestBucket {
  readonly name: string;
  readonly history: number;
}

interface Acknowledged {
  readonly revision: number;
  /** Undefined: a delete. */
  readonly digest: string | undefined;
}

interface WrittenKey {
  readonly bucket: TestBucket;
  readonly key: string;
  /** The newest last; those that the bucket's history displaced may be missing. */
  acknowledged: Acknowledged[];
  /** Set by a delete that the cut interrupted: the newest revision acknowledged before it. Whether it was applied is not known. */
  interruptedDeleteAfter?: number | undefined;
}

export interface Losses {
  /** Acknowledged writes that are gone though the history has room for them, or that have another value. */
  readonly writes: number;
  /** Keys with such a write. */
  readonly keys: number;
}

const KEYS_PER_WRITER = 40;
/** Large enough that a few hundred writes fill a block of the storage, so that compactions happen. */
const VALUE_BYTES_MAX = 8_192;
const CALL_TIMEOUT_MS = 20_000;
const CHECKS_AT_ONCE = 16;

export class Writers {
  acknowledged = 0;
  /** Keys that have a value from before an acknowledged delete whose tombstone is gone. */
  back = 0;
  private readonly service: Service;
  private readonly keys: readonly WrittenKey[];
  private readonly random: (below: number) => number;
  private running: Promise<void>[] = [];
  private isOver = false;
  private waiting: { readonly target: number; readonly resolve: () => void } | undefined;
  private writes = 0;

  constructor(
    url: string,
    private readonly count: number,
    buckets: readonly TestBucket[],
    seed: number,
    /** Whether tombstones may be compacted. */
    private readonly isCompacted = false,
  ) {
    this.service = serviceAt(url);
    this.random = randomFrom(seed);
    this.keys = Array.from({ length: count * KEYS_PER_WRITER }, (_, index) => {
      const bucket = buckets[index % buckets.length];
      if (bucket === undefined) throw new Error("no bucket");
      return { bucket, key: `key.${index}`, acknowledged: [] };
    });
  }

  /** Lets every writer write, one call at a time each. */
  start(): void {
    this.isOver = false;
    this.running = Array.from({ length: this.count }, (_, writer) =>
      this.run(this.keys.filter((_key, index) => index % this.count === writer)),
    );
  }

  /** Resolves when so many more writes are acknowledged. Rejects when a write fails. */
  async untilAcknowledged(more: number): Promise<void> {
    const target = this.acknowledged + more;
    const reached = new Promise<void>((resolve) => {
      this.waiting = { target, resolve };
    });
    await Promise.race([reached, Promise.all(this.running)]);
  }

  /** Ends the writers; calls may fail from now on. Resolves when none is under way: what they said until then counts. */
  async finish(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.running);
  }

  /** Compares what is stored with every acknowledgement. What is lost is reported once. */
  async check(): Promise<Losses> {
    let [writes, keys] = [0, 0];
    const left = [...this.keys];
    const checkNext = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) {
        const lost = await this.lostOf(next);
        writes += lost;
        if (lost > 0) keys++;
      }
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, checkNext));
    return { writes, keys };
  }

  private async run(keys: readonly WrittenKey[]): Promise<void> {
    while (!this.isEnding()) {
      const written = keys[this.random(keys.length)];
      if (written === undefined) return;
      try {
        await this.write(written);
      } catch (error) {
        // A call that the cut interrupts has no outcome.
        if (!this.isEnding()) throw error;
      }
    }
  }

  private isEnding(): boolean {
    return this.isOver;
  }

  private async write(written: WrittenKey): Promise<void> {
    const { bucket, key, acknowledged } = written;
    const call = { timeoutMs: CALL_TIMEOUT_MS };
    const isDelete = this.random(this.isCompacted ? 2 : 10) === 0;
    const value = Buffer.alloc(16 + this.random(VALUE_BYTES_MAX), `${++this.writes} `);
    const { revision } = isDelete
      ? await this.delete(written)
      : await this.service.put({ bucket: bucket.name, key, value }, call);
    // The delete of a key that is not there leaves no entry.
    if (revision !== 0n)
      acknowledged.push({ revision: Number(revision), digest: isDelete ? undefined : digestOf(value) });
    if (acknowledged.length > bucket.history) acknowledged.shift();
    this.acknowledged++;
    if (this.waiting !== undefined && this.acknowledged >= this.waiting.target) this.waiting.resolve();
  }

  private async delete(written: WrittenKey): Promise<{ revision: bigint }> {
    const { bucket, key, acknowledged } = written;
    written.interruptedDeleteAfter = acknowledged.at(-1)?.revision ?? 0;
    const deleted = await this.service.delete({ bucket: bucket.name, key }, { timeoutMs: CALL_TIMEOUT_MS });
    written.interruptedDeleteAfter = undefined;
    return deleted;
  }

  private async lostOf(written: WrittenKey): Promise<number> {
    const { bucket, key } = written;
    const { entries } = await this.service
      .getHistory({ bucket: bucket.name, key }, { timeoutMs: CALL_TIMEOUT_MS })
      .catch((error: unknown) => {
        if (reasonOf(error) === "key_not_found") return { entries: [] };
        throw error;
      });
    const stored = entries.map(({ revision, operation, value }) => ({
      revision: Number(revision),
      digest: operation === Operation.PUT ? digestOf(value) : undefined,
    }));
    if (this.isCompacted) settleInterruptedDelete(written, stored);
    const { acknowledged } = written;
    // Compaction removes a tombstone with all that its key had before.
    const compactedTo = Math.max(
      0,
      ...acknowledged
        .filter(
          ({ digest, revision }) => digest === undefined && !stored.some((one) => one.revision === revision),
        )
        .map(({ revision }) => revision),
    );
    if (this.isCompacted && stored.some(({ revision }) => revision <= compactedTo)) this.back++;
    const lost = acknowledged.filter((one) => {
      if (this.isCompacted && one.revision <= compactedTo) return false;
      const found = stored.find(({ revision }) => revision === one.revision);
      if (found !== undefined) return found.digest !== one.digest;
      return stored.filter(({ revision }) => revision > one.revision).length < bucket.history;
    });
    written.acknowledged = acknowledged.filter((one) => !lost.includes(one));
    return lost.length;
  }
}

/**
 * A delete that the cut interrupted may have been applied all the same. Its tombstone, if it is stored, counts as acknowledged from now
 * on; where nothing from before it is stored either, it was compacted with all of that.
 */
function settleInterruptedDelete(written: WrittenKey, stored: readonly Acknowledged[]): void {
  const { interruptedDeleteAfter: before, acknowledged } = written;
  if (before === undefined) return;
  written.interruptedDeleteAfter = undefined;
  const tombstone = stored.find(({ revision, digest }) => digest === undefined && revision > before);
  if (tombstone !== undefined) acknowledged.push(tombstone);
  else if (stored.length === 0) written.acknowledged = [];
}

function digestOf(value: Uint8Array): string {
  return createHash("sha1").update(value).digest("base64");
}

/**
 * One snapshot that several watchers read: those of equal filters that begin at the same revision of the bucket, as all do that begin together.
 * Each part is read from NATS once.
 *
 * The readers belong to no watcher. A reader stands after the last change that it brought; the first watcher that has come so far reads on with
 * it. The parts that were read last are kept for those behind. A watcher that falls further behind opens a reader of its own.
 */
import type { Change } from "../read/delivery.js";
import type { DirectAnswer } from "../read/direct-get.js";
import type { PullResult, Reader } from "../read/stream-reader.js";

/** What a change takes beside its key and value: its entry, event, message and frame: an estimate. */
const CHANGE_BYTES = 1_500;

/** How a snapshot is read from the storage. */
export interface SnapshotSource {
  /** See `Source.newestAsOf`. */
  atOnce(): Promise<DirectAnswer | undefined>;
  /** Opens a reader of everything after a revision. It may repeat what precedes the revision. */
  open(after: number): Promise<Reader>;
}

/** What one pull brought. */
export interface Part {
  readonly result: PullResult;
  readonly changes: readonly Change[];
  /** See `Reader.mayStumble`. */
  readonly mayStumble: boolean;
}

interface Kept {
  readonly part: Promise<Part>;
  bytes: number;
}

export class SharedSnapshot {
  /** The most memory of parts that were kept at once, in bytes. */
  keptBytesPeak = 0;
  private keptBytes = 0;
  private users = 0;
  private answer: Promise<DirectAnswer | undefined> | undefined;
  /** By the revision that they come after: parts that are being read, and those that were read last. */
  private readonly parts = new Map<number, Kept>();
  /** Readers that nobody reads with, by the revision that they have come to. */
  private readonly idle = new Map<number, Reader>();
  private readonly readers = new Set<Reader>();

  constructor(
    private readonly source: SnapshotSource,
    private readonly keptBytesMax: number,
    /** Called when the last watcher has left. */
    private readonly onUnused: () => void,
    /** Whether to read each part while the previous one is handled. For parts much smaller than `keptBytesMax`. */
    private readonly readsAhead: boolean,
  ) {}

  join(): this {
    this.users++;
    return this;
  }

  /** Call once for each `join`. */
  leave(): void {
    if (--this.users > 0) return;
    this.onUnused();
    for (const reader of this.readers) void reader.close();
    this.parts.clear();
    this.idle.clear();
  }

  /** The snapshot, or its beginning, by one request. Undefined: not possible. */
  atOnce(): Promise<DirectAnswer | undefined> {
    const answer = (this.answer ??= this.source.atOnce());
    answer.catch(() => {
      if (this.answer === answer) this.answer = undefined;
    });
    return answer;
  }

  /** Reads what comes after a revision, up to so many changes. */
  part(after: number, batch: number): Promise<Part> {
    const part = this.partAfter(after, batch);
    if (this.readsAhead) {
      const readNext = (read: Part): void => {
        const last = read.changes.at(-1);
        if (this.users > 0 && read.result === "more" && last !== undefined)
          void this.partAfter(last.revision, batch);
      };
      part.then(readNext, () => undefined);
    }
    return part;
  }

  private partAfter(after: number, batch: number): Promise<Part> {
    const known = this.parts.get(after);
    if (known !== undefined) return known.part;
    const kept: Kept = { part: this.read(after, batch), bytes: 0 };
    this.parts.set(after, kept);
    const drop = (): void => this.drop(after, kept);
    kept.part.then((part) => {
      if (isComplete(part, after)) this.keep(kept, part);
      else drop();
    }, drop);
    return kept.part;
  }

  private async read(after: number, batch: number): Promise<Part> {
    const reader = this.idle.get(after) ?? (await this.open(after));
    this.idle.delete(after);
    const changes: Change[] = [];
    const result = await reader.pull(batch, (change) => changes.push(change));
    this.rest(reader, Math.max(after, changes.at(-1)?.revision ?? 0), result);
    return { result, changes, mayStumble: reader.mayStumble };
  }

  private async open(after: number): Promise<Reader> {
    const reader = await this.source.open(after);
    this.readers.add(reader);
    if (this.users === 0) this.close(reader);
    return reader;
  }

  /** Leaves the reader to the next watch that begins at the same revision. */
  private rest(reader: Reader, reached: number, result: PullResult): void {
    if (result === "lost" || this.users === 0 || this.idle.has(reached)) this.close(reader);
    else this.idle.set(reached, reader);
  }

  private close(reader: Reader): void {
    this.readers.delete(reader);
    void reader.close();
  }

  private keep(kept: Kept, { changes }: Part): void {
    kept.bytes = changes.reduce((sum, change) => sum + change.bytes + CHANGE_BYTES, 0);
    this.keptBytes += kept.bytes;
    for (const [after, oldest] of this.parts) {
      if (this.keptBytes <= this.keptBytesMax) break;
      if (oldest.bytes > 0) this.drop(after, oldest);
    }
    if (this.keptBytes > this.keptBytesPeak) this.keptBytesPeak = this.keptBytes;
  }

  private drop(after: number, kept: Kept): void {
    if (this.parts.get(after) === kept) this.parts.delete(after);
    this.keptBytes -= kept.bytes;
    kept.bytes = 0;
  }
}

/** Whether the next part comes after another revision than this one. */
function isComplete({ result, changes }: Part, after: number): boolean {
  return result !== "lost" && (changes.at(-1)?.revision ?? 0) > after;
}

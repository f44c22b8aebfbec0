/** Collects a bucket's keys, in the order in which they are read, and makes a tree of them. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { KeyFacts } from "./key-leaf.js";
import { KeyMerge } from "./key-merge.js";
import { KeyRun } from "./key-run.js";
import type { KeyTree } from "./key-tree.js";
import { KeyTreeBuilder } from "./key-tree-builder.js";

/** About a millisecond's work. */
const SLICE_KEYS = 2_000;

/** Whether a key belongs into the tree: bytes of `blob`, beginning at `start`. */
export type KeyCheck = (blob: Uint8Array, start: number, length: number, revision: number) => boolean;

/** Keys of a sample. */
const SAMPLE_KEYS = 1_024;
/** Keys are added to one run while keys are dropped from others: so many for each, unless few are left. */
const KEYS_PER_DROP = 64;
const DROPPED_AT_ONCE = 4;

export class KeyLoad {
  private readonly runs: KeyRun[] = [];
  private current = new KeyRun();
  private endedBytes = 0;
  /** Runs from which keys are still to be dropped. */
  private readonly dropping: KeyRun[] = [];
  private isKept: KeyCheck = () => true;
  private addedSinceDrop = 0;

  get memoryBytes(): number {
    return this.endedBytes + this.current.memoryBytes;
  }

  /** Whether {@link dropSome} has more to do. */
  get isDropping(): boolean {
    return this.dropping.length > 0;
  }

  /** Adds a key: the bytes of `key` to before `to`. Of equal keys, that of the highest revision counts. */
  add(key: Uint8Array, from: number, to: number, facts: KeyFacts): void {
    if (this.current.isFull) {
      const next = this.current.successor();
      this.endRun();
      this.current = next;
    }
    this.current.add(key, from, to - from, facts);
  }

  addText(key: string, facts: KeyFacts): void {
    const bytes = Buffer.from(key);
    this.add(bytes, 0, bytes.length, facts);
  }

  /** Some of the keys, evenly chosen. */
  sample(): Uint8Array[] {
    const runs = [...this.runs, ...this.dropping, this.current];
    const count = runs.reduce((sum, run) => sum + run.count, 0);
    const step = Math.max(1, count / SAMPLE_KEYS);
    const keys: Uint8Array[] = [];
    let next = 0;
    let before = 0;
    for (const { blob, starts, lengths, count: slots } of runs) {
      for (; next < before + slots; next += step) {
        const slot = Math.floor(next) - before;
        const start = starts[slot] as number;
        keys.push(blob.slice(start, start + (lengths[slot] as number)));
      }
      before += slots;
    }
    return keys;
  }

  /** Drops the other keys, some at a time: call {@link dropSome} as keys are added. */
  keepOnly(isKept: KeyCheck): void {
    this.endRun();
    this.current = new KeyRun();
    this.isKept = isKept;
    this.dropping.push(...this.runs.splice(0));
    if (this.dropping.length <= DROPPED_AT_ONCE) while (this.isDropping) this.dropFromOne();
  }

  dropSome(): void {
    if (!this.isDropping || ++this.addedSinceDrop < KEYS_PER_DROP) return;
    this.addedSinceDrop = 0;
    this.dropFromOne();
  }

  /** The tree of the keys that `isWanted` accepts. Other calls are served meanwhile. Add no more keys. */
  async finish(isWanted: KeyCheck): Promise<KeyTree> {
    this.endRun();
    const merge = new KeyMerge([...this.runs, ...this.dropping]);
    const builder = new KeyTreeBuilder();
    for (let merged = 1; merge.next(); merged++) {
      const { run, position } = merge;
      const revision = run.revisionAt(position);
      if (isWanted(run.blob, run.startAt(position), run.lengthAt(position), revision))
        builder.add(run, position);
      if (merged % SLICE_KEYS === 0) await nextTurn();
    }
    return builder.finish();
  }

  private endRun(): void {
    if (this.current.count === 0) return;
    this.current.sort();
    this.keep(this.current);
  }

  private keep(run: KeyRun): void {
    this.endedBytes += run.memoryBytes;
    this.runs.push(run);
  }

  private dropFromOne(): void {
    const run = this.dropping.pop();
    if (run === undefined) return;
    this.endedBytes -= run.memoryBytes;
    const rest = run.only(this.isKept);
    if (rest.count > 0) this.keep(rest);
  }
}

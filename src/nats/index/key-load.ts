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

export class KeyLoad {
  private readonly runs: KeyRun[] = [];
  private current = new KeyRun();

  get memoryBytes(): number {
    return this.runs.reduce((sum, run) => sum + run.memoryBytes, this.current.memoryBytes);
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

  /** The tree of the keys that `isWanted` accepts. Other calls are served meanwhile. Add no more keys. */
  async finish(isWanted: KeyCheck): Promise<KeyTree> {
    this.endRun();
    const merge = new KeyMerge(this.runs);
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
    this.runs.push(this.current);
  }
}

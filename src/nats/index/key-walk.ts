/** Goes through the keys of a snapshot of the index that match, in byte order or its reverse, some at a time. */
import { type Filter, matchesAny } from "../../kv/filter.js";
import { escapeKey } from "../../kv/names.js";
import type { KeyFacts } from "./key-leaf.js";
import type { KeyRange } from "./key-ranges.js";
import type { KeySnapshot } from "./key-tree.js";

export interface WalkedKey extends KeyFacts {
  readonly key: string;
}

/** Keys of one step: about a millisecond's work. */
const STEP_KEYS = 512;

/** The places of a range's keys that are not visited yet, in the order of all keys. */
interface Part {
  from: number;
  to: number;
  readonly isAll: boolean;
}

export class KeyWalk {
  private readonly parts: Part[];

  /** `ranges`: in byte order. Keys of a range that is not `isAll` are compared with the filters. */
  constructor(
    private readonly view: KeySnapshot,
    ranges: readonly KeyRange[],
    private readonly filters: readonly Filter[],
    private readonly isReverse: boolean,
  ) {
    const parts = ranges.map(({ from, to, isAll }) => ({
      from: view.rank(from),
      to: to === undefined ? view.size : view.rank(to),
      isAll,
    }));
    this.parts = isReverse ? parts.reverse() : parts;
    this.dropVisited();
  }

  /** Whether every key was visited. */
  get isDone(): boolean {
    return this.parts.length === 0;
  }

  /** An upper bound on the number of matching keys that were not visited. */
  get remainingMax(): number {
    return this.parts.reduce((sum, { from, to }) => sum + to - from, 0);
  }

  /** Visits keys until `accept` returns false, which leaves that key for the next step. At most a few hundred: call again. */
  step(accept: (key: WalkedKey) => boolean): void {
    const [part] = this.parts;
    if (part === undefined) return;
    const count = Math.min(STEP_KEYS, part.to - part.from);
    const start = this.isReverse ? part.to - count : part.from;
    const keys = this.keysAt(start, count);
    const ordered = this.isReverse ? keys.reverse() : keys;
    let visited = 0;
    for (const key of ordered) {
      const matches = part.isAll || matchesAny(this.filters, escapeKey(key.key));
      if (matches && !accept(key)) break;
      visited++;
    }
    if (this.isReverse) part.to -= visited;
    else part.from += visited;
    this.dropVisited();
  }

  private keysAt(start: number, count: number): WalkedKey[] {
    const cursor = this.view.cursor(start);
    const keys: WalkedKey[] = [];
    while (keys.length < count && cursor.next()) {
      // Spreading the facts would dominate the cost of a page.
      const { revision, timeMs, detail, valueBytes, expiresAtMs } = cursor.facts;
      keys.push({ key: cursor.key, revision, timeMs, detail, valueBytes, expiresAtMs });
    }
    return keys;
  }

  private dropVisited(): void {
    for (let [part] = this.parts; part !== undefined && part.from >= part.to; [part] = this.parts)
      this.parts.shift();
  }
}

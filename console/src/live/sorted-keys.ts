/** Keys in one of the orders of a list. */
import { compareKeys } from "./key-order.js";

/** By key, or by the time of the last change, newest first. */
export const KEY_ORDERS = ["ascending", "descending", "changed"] as const;
export type KeyOrder = (typeof KEY_ORDERS)[number];

export class SortedKeys {
  readonly keys: string[] = [];
  /** Of all keys, in the order `changed`. */
  private readonly revisions = new Map<string, bigint>();

  constructor(readonly order: KeyOrder) {}

  /** The index of the key, or the one at which it belongs. */
  indexOf(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compare(this.keys[middle] ?? "", key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  has(key: string): boolean {
    return this.keys[this.indexOf(key)] === key;
  }

  /** Adds keys that follow all others in the order. */
  append(keys: readonly string[], revisions: readonly bigint[] = []): void {
    for (const [index, key] of keys.entries()) {
      this.keys.push(key);
      const revision = revisions[index];
      if (revision !== undefined) this.revisions.set(key, revision);
    }
  }

  /** Adds keys that come before all others in the order. */
  prepend(keys: readonly string[]): void {
    this.keys.unshift(...keys);
  }

  /** Records that the key was written. */
  put(key: string, revision: bigint): void {
    if (this.order === "changed") {
      this.remove(key);
      this.revisions.set(key, revision);
    } else if (this.has(key)) return;
    this.keys.splice(this.indexOf(key), 0, key);
  }

  remove(key: string): void {
    const index = this.indexOf(key);
    if (this.keys[index] === key) this.keys.splice(index, 1);
    this.revisions.delete(key);
  }

  clear(): void {
    this.keys.length = 0;
    this.revisions.clear();
  }

  private compare(one: string, other: string): number {
    if (this.order === "ascending") return compareKeys(one, other);
    if (this.order === "descending") return compareKeys(other, one);
    if (one === other) return 0;
    const [first, second] = [this.revisions.get(one), this.revisions.get(other)];
    // A key that is not listed is about to be written: it comes first.
    if (second === undefined) return 1;
    return first === undefined || first > second ? -1 : 1;
  }
}

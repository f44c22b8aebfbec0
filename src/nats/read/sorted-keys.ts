/** Keys in the order of their UTF-8 bytes. Long lists are sorted in slices, so that other calls are served meanwhile. */
import { setImmediate as nextTurn } from "node:timers/promises";

/** Keys in byte order. */
export type SortedKeys = readonly string[];

/** About a millisecond's work. */
export const SLICE_KEYS = 1_000;

/** The keys in byte order. */
export async function sortKeys(keys: readonly string[]): Promise<SortedKeys> {
  let runs: string[][] = [];
  for (let start = 0; start < keys.length; start += SLICE_KEYS) {
    runs.push(keys.slice(start, start + SLICE_KEYS).sort(compareBytes));
    await nextTurn();
  }
  while (runs.length > 1) {
    const merged: string[][] = [];
    for (let index = 0; index < runs.length; index += 2)
      merged.push(await merge(runs[index] ?? [], runs[index + 1] ?? []));
    runs = merged;
  }
  return runs[0] ?? [];
}

async function merge(left: readonly string[], right: readonly string[]): Promise<string[]> {
  const merged: string[] = [];
  let [l, r] = [0, 0];
  while (l < left.length && r < right.length) {
    const [one = "", other = ""] = [left[l], right[r]];
    if (compareBytes(one, other) <= 0) {
      merged.push(one);
      l++;
    } else {
      merged.push(other);
      r++;
    }
    if (merged.length % SLICE_KEYS === 0) await nextTurn();
  }
  for (; l < left.length; l++) merged.push(left[l] ?? "");
  for (; r < right.length; r++) merged.push(right[r] ?? "");
  return merged;
}

/** The index of the first key after this one. */
export function firstAfter(keys: SortedKeys, after: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle] ?? "", after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The order of the UTF-8 bytes. That of UTF-16 units differs where surrogates meet U+E000 to U+FFFF. */
export function compareBytes(left: string, right: string): number {
  if (left === right) return 0;
  if (!HIGH_UNIT.test(left) && !HIGH_UNIT.test(right)) return left < right ? -1 : 1;
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

const HIGH_UNIT = /[\ud800-\uffff]/;

/** A model of what many writers write to a bucket, and the state that it has at each revision. */
import type { Store } from "../../src/kv/store.js";
import { bytes, scope } from "./store-contract.js";

/** What was written, by revision. Without a value: a delete or purge. */
export type Written = Map<bigint, { readonly key: string; readonly value: string | undefined }>;

/** The values at a revision, by key. */
export function stateAt(written: Written, revision: bigint): Map<string, string> {
  const state = new Map<string, string>();
  for (let at = 1n; at <= revision; at++) {
    const change = written.get(at);
    if (change === undefined) continue;
    if (change.value === undefined) state.delete(change.key);
    else state.set(change.key, change.value);
  }
  return state;
}

/** How many keys have a value, by revision: one pass for all. */
export function countsOf(written: Written, upTo: bigint): readonly number[] {
  const live = new Set<string>();
  const counts = [0];
  for (let at = 1n; at <= upTo; at++) {
    const change = written.get(at);
    if (change?.value !== undefined) live.add(change.key);
    else if (change !== undefined) live.delete(change.key);
    counts.push(live.size);
  }
  return counts;
}

/** Writes, deletes and purges keys: `steps` times one that `keyAt` chooses. */
export async function writeMuch(
  store: Store,
  bucket: string,
  written: Written,
  {
    seed,
    steps,
    keyAt,
  }: { readonly seed: number; readonly steps: number; readonly keyAt: (step: number) => string },
): Promise<void> {
  for (let step = 0; step < steps; step++) {
    const key = keyAt(step);
    const kind = (seed + step * 7) % 5;
    const value = kind < 3 ? `${seed}-${step}` : undefined;
    const revision =
      value === undefined
        ? await store.delete(bucket, key, { purge: kind === 4 }, scope())
        : await store.put(bucket, key, bytes(value), {}, scope());
    if (revision > 0n) written.set(revision, { key, value });
  }
}

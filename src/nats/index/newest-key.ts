/** Finds the key that was written last. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { KeyFacts } from "./key-leaf.js";
import type { KeySnapshot } from "./key-tree.js";

/** About a millisecond's work. */
const SLICE_KEYS = 4_000;

/** The facts of the highest revision that `accepts`, which also gets whether they are of the first snapshot. Other calls are served meanwhile. */
export async function newestOf(
  snapshots: readonly KeySnapshot[],
  accepts: (facts: KeyFacts, isOfFirst: boolean) => boolean,
): Promise<KeyFacts | undefined> {
  let newest: KeyFacts | undefined;
  let visited = 0;
  for (const snapshot of snapshots) {
    for (const cursor = snapshot.cursor(0); cursor.next();) {
      if (++visited % SLICE_KEYS === 0) await nextTurn();
      if (cursor.revision <= (newest?.revision ?? 0)) continue;
      const { facts } = cursor;
      if (accepts(facts, snapshot === snapshots[0])) newest = facts;
    }
  }
  return newest;
}

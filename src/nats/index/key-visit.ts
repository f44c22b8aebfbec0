/** Goes through the keys that match some filters, in byte order, as they are when it begins, and lets other calls be served meanwhile. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { bulkScheduler } from "../../kv/bulk-scheduler.js";
import { type Filter, matchesAny } from "../../kv/filter.js";
import { escapeKey } from "../../kv/names.js";
import { type CallContext, endReason, flowOf } from "../../kv/call-context.js";
import { NoReplyError } from "../client/no-reply.js";
import { after, type KeyRange, rangesOf } from "./key-ranges.js";
import type { KeySnapshot, KeyTree } from "./key-tree.js";

/** About a millisecond's work. */
const SLICE_KEYS = 1_000;
/** As much work for the scheduler: one slice in a turn of the event loop, while short calls come in. */
const SLICE_WORK_BYTES = 262_144;

/**
 * Calls `visit` with each key until it returns false. Resolves with whether all were visited. `from`: the smallest key to visit; default: the
 * first one. Throws `NoReplyError` when the context ends.
 */
export async function visitKeys(
  tree: KeyTree,
  filters: readonly Filter[],
  from: Uint8Array | undefined,
  visit: (key: string) => boolean,
  context: CallContext,
): Promise<boolean> {
  let view: KeySnapshot = tree;
  let sliceLeft = SLICE_KEYS;
  for (const range of rangesOf(filters)) {
    let start = from !== undefined && Buffer.compare(from, range.from) > 0 ? from : range.from;
    let left = countBetween(view, start, range);
    while (left > 0) {
      const slice = Math.min(left, sliceLeft);
      const last = visitSlice(view, start, slice, range.isAll ? undefined : filters, visit);
      if (last === undefined) return false;
      left -= slice;
      sliceLeft -= slice;
      if (sliceLeft > 0) continue;
      // Nothing has changed since the first key: the others are to be of the same revision.
      if (view === tree) view = tree.snapshot();
      await nextTurn();
      await bulkScheduler.turn(flowOf(context), SLICE_WORK_BYTES);
      throwIfEnded(context);
      sliceLeft = SLICE_KEYS;
      start = after(Buffer.from(last));
    }
  }
  return true;
}

/** The number of keys that match. See {@link visitKeys}. */
export async function countKeys(
  tree: KeyTree,
  filters: readonly Filter[],
  context: CallContext,
): Promise<number> {
  const ranges = rangesOf(filters);
  let count = 0;
  if (ranges.every((range) => range.isAll)) {
    for (const range of ranges) count += countBetween(tree, range.from, range);
    return count;
  }
  await visitKeys(tree, filters, undefined, () => ++count > 0, context);
  return count;
}

/** The last key of the slice; undefined where `visit` returned false. */
function visitSlice(
  view: KeySnapshot,
  start: Uint8Array,
  count: number,
  filters: readonly Filter[] | undefined,
  visit: (key: string) => boolean,
): string | undefined {
  const cursor = view.cursor(start);
  let key = "";
  for (let visited = 0; visited < count && cursor.next(); visited++) {
    key = cursor.key;
    if (filters !== undefined && !matchesAny(filters, escapeKey(key))) continue;
    if (!visit(key)) return undefined;
  }
  return key;
}

function countBetween(view: KeySnapshot, from: Uint8Array, { to }: KeyRange): number {
  return (to === undefined ? view.size : view.rank(to)) - view.rank(from);
}

/** Throws `NoReplyError` when the context has ended. */
export function throwIfEnded(context: CallContext): void {
  if (context.isCanceled ?? context.signal.aborted) throw new NoReplyError(endReason(context), true);
  if (performance.now() >= context.deadlineMs) throw new NoReplyError("deadline", true);
}

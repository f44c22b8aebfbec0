/**
 * The keys of a snapshot of the index in the order of their revisions, in four bytes a key: their places in the order of keys. A radix sort: it
 * takes linear time, whatever the revisions are, and can pause.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Filter, matchesAny } from "../../kv/filter.js";
import { escapeKey } from "../../kv/names.js";
import type { KeyRange } from "./key-ranges.js";
import type { KeySnapshot } from "./key-tree.js";

const DIGIT = 65_536;
/** About a millisecond's work. */
const SLICE_KEYS = 16_384;
const SLICE_FILTERED_KEYS = 1_000;

/** The places of the keys that match, lowest revision first. Other calls are served meanwhile. */
export async function inRevisionOrder(
  view: KeySnapshot,
  ranges: readonly KeyRange[],
  filters: readonly Filter[],
): Promise<Uint32Array> {
  const { places, revisions } = await collect(view, ranges, filters);
  let lowest = Infinity;
  let highest = 0;
  for (const revision of revisions) {
    if (revision < lowest) lowest = revision;
    if (revision > highest) highest = revision;
  }
  let order: Uint32Array = Uint32Array.from(places, (_, index) => index);
  for (let scale = 1; scale <= highest - lowest; scale *= DIGIT)
    order = await sortedBy(
      order,
      (index) => Math.floor(((revisions[index] as number) - lowest) / scale) % DIGIT,
    );
  return order.map((index) => places[index] as number);
}

interface Collected {
  readonly places: Uint32Array;
  readonly revisions: Float64Array;
}

async function collect(
  view: KeySnapshot,
  ranges: readonly KeyRange[],
  filters: readonly Filter[],
): Promise<Collected> {
  const bounds = ranges.map(({ from, to, isAll }) => {
    const first = view.rank(from);
    return { first, end: to === undefined ? view.size : view.rank(to), isAll };
  });
  const most = bounds.reduce((sum, { first, end }) => sum + end - first, 0);
  const places = new Uint32Array(most);
  const revisions = new Float64Array(most);
  let count = 0;
  for (const { first, end, isAll } of bounds) {
    const cursor = view.cursor(first);
    const slice = isAll ? SLICE_KEYS : SLICE_FILTERED_KEYS;
    for (let place = first; place < end && cursor.next(); place++) {
      if (place % slice === 0) await nextTurn();
      if (!isAll && !matchesAny(filters, escapeKey(cursor.key))) continue;
      places[count] = place;
      revisions[count++] = cursor.revision;
    }
  }
  return { places: places.subarray(0, count), revisions: revisions.subarray(0, count) };
}

/** A stable counting sort by one digit. */
async function sortedBy(order: Uint32Array, digitOf: (index: number) => number): Promise<Uint32Array> {
  const ends = new Uint32Array(DIGIT + 1);
  for (const index of order) ends[digitOf(index) + 1] = (ends[digitOf(index) + 1] ?? 0) + 1;
  for (let digit = 0; digit < DIGIT; digit++) ends[digit + 1] = (ends[digit + 1] ?? 0) + (ends[digit] ?? 0);
  const sorted = new Uint32Array(order.length);
  for (let at = 0; at < order.length; at++) {
    if (at % SLICE_KEYS === 0) await nextTurn();
    const index = order[at] as number;
    const digit = digitOf(index);
    const place = ends[digit] as number;
    ends[digit] = place + 1;
    sorted[place] = index;
  }
  return sorted;
}

/**
 * Sorts packed keys by their bytes. Sorting with a comparison of two keys at a time would take seconds for a million keys: here the next four
 * bytes of each key are sorted as numbers, and then each group of keys that are equal so far.
 */

/** Keys in one block of bytes. */
export interface PackedKeys {
  readonly blob: Uint8Array;
  readonly starts: Uint32Array;
  readonly lengths: Uint16Array;
  /** Of equal keys, the one with the highest number comes first. */
  readonly revisions: Float64Array;
  readonly count: number;
}

/** At most this many keys are sorted at once: their numbers stand beside four bytes of a key in a 53-bit integer. */
export const SORTED_KEYS_MAX = 65_536;
const HEAD_BYTES = 4;
/** Below this size, insertion is faster. */
const GROUP_MIN = 16;

/** A part of the order whose keys are equal before byte `depth`. */
interface Group {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
}

/** The numbers of the keys in the order of their bytes. */
export function sortedOrder(keys: PackedKeys): Uint32Array {
  const { count } = keys;
  const order = new Uint32Array(count);
  for (let key = 0; key < count; key++) order[key] = key;
  const numbers = new Float64Array(count);
  const groups: Group[] = [{ from: 0, to: count, depth: 0 }];
  for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
    if (group.to - group.from < GROUP_MIN) insertionSort(keys, order, group);
    else splitGroup(keys, order, numbers, group, groups);
  }
  return order;
}

/** Sorts a group by the next bytes that differ, and adds the groups that are still equal. */
function splitGroup(
  keys: PackedKeys,
  order: Uint32Array,
  numbers: Float64Array,
  { from, to, depth }: Group,
  groups: Group[],
): void {
  const at = depth + sharedBytes(keys, order, from, to, depth);
  for (let index = from; index < to; index++) {
    const key = order[index] as number;
    numbers[index] = headOf(keys, key, at) * SORTED_KEYS_MAX + key;
  }
  // Without a comparison function, V8 sorts the numbers natively.
  numbers.subarray(from, to).sort();
  let begin = from;
  let beginHead = -1;
  let isCut = false;
  const end = (index: number): void => {
    if (index - begin < 2) return;
    const group = { from: begin, to: index, depth: isCut ? at : at + HEAD_BYTES };
    // A key that ends within the four bytes equals one with zero bytes there.
    if (isCut) compareSort(keys, order, group);
    else groups.push(group);
  };
  for (let index = from; index < to; index++) {
    const number = numbers[index] as number;
    const head = Math.floor(number / SORTED_KEYS_MAX);
    const key = number - head * SORTED_KEYS_MAX;
    order[index] = key;
    if (head !== beginHead) {
      end(index);
      [begin, beginHead, isCut] = [index, head, false];
    }
    isCut ||= (keys.lengths[key] as number) < at + HEAD_BYTES;
  }
  end(to);
}

/** How many bytes from `depth` on all keys of the group share. */
function sharedBytes(keys: PackedKeys, order: Uint32Array, from: number, to: number, depth: number): number {
  const { blob, starts, lengths } = keys;
  const first = order[from] as number;
  const firstStart = (starts[first] as number) + depth;
  let shared = (lengths[first] as number) - depth;
  for (let index = from + 1; index < to && shared > 0; index++) {
    const key = order[index] as number;
    const start = (starts[key] as number) + depth;
    const end = Math.min(shared, (lengths[key] as number) - depth);
    let at = 0;
    while (at < end && blob[firstStart + at] === blob[start + at]) at++;
    shared = at;
  }
  return Math.max(0, shared);
}

/** Four bytes as a number; those beyond the end count as 0. */
function headOf({ blob, starts, lengths }: PackedKeys, key: number, at: number): number {
  const start = (starts[key] as number) + at;
  const left = (lengths[key] as number) - at;
  let head = 0;
  for (let byte = 0; byte < HEAD_BYTES; byte++)
    head = head * 256 + (byte < left ? (blob[start + byte] as number) : 0);
  return head;
}

function insertionSort(keys: PackedKeys, order: Uint32Array, { from, to, depth }: Group): void {
  for (let index = from + 1; index < to; index++) {
    const key = order[index] as number;
    let at = index;
    while (at > from && compareKeys(keys, order[at - 1] as number, key, depth) > 0) {
      order[at] = order[at - 1] as number;
      at--;
    }
    order[at] = key;
  }
}

function compareSort(keys: PackedKeys, order: Uint32Array, { from, to, depth }: Group): void {
  order.subarray(from, to).sort((one, other) => compareKeys(keys, one, other, depth));
}

/** Compares two keys by their bytes from `depth` on. */
function compareKeys(
  { blob, starts, lengths, revisions }: PackedKeys,
  one: number,
  other: number,
  depth: number,
): number {
  const [start, otherStart] = [starts[one] as number, starts[other] as number];
  const [length, otherLength] = [lengths[one] as number, lengths[other] as number];
  const end = length < otherLength ? length : otherLength;
  for (let at = depth; at < end; at++) {
    const difference = (blob[start + at] as number) - (blob[otherStart + at] as number);
    if (difference !== 0) return difference;
  }
  return length - otherLength || (revisions[other] as number) - (revisions[one] as number);
}

/** The parts of a bucket's keys, in byte order, in which the keys that match some filters are. */
import { type Filter } from "../../kv/filter.js";

/** Keys from `from` to before `to`, by their UTF-8 bytes. */
export interface KeyRange {
  readonly from: Uint8Array;
  /** Absent: to the last key. */
  readonly to: Uint8Array | undefined;
  /** Whether every key of the range matches. */
  readonly isAll: boolean;
}

/** Ranges in order, without overlaps. */
export function rangesOf(filters: readonly Filter[]): readonly KeyRange[] {
  const ranges = filters.map(rangeOf).sort((one, other) => Buffer.compare(one.from, other.from));
  const merged: KeyRange[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last === undefined || (last.to !== undefined && Buffer.compare(last.to, range.from) <= 0)) {
      merged.push(range);
      continue;
    }
    // Prefixes either contain each other or are apart, so the later range lies within the one before, or begins where that does.
    const isLonger =
      last.to !== undefined && (range.to === undefined || Buffer.compare(range.to, last.to) > 0);
    if (isLonger || !last.isAll)
      merged[merged.length - 1] = { from: last.from, to: isLonger ? range.to : last.to, isAll: false };
  }
  return merged;
}

function rangeOf(filter: Filter): KeyRange {
  const from = Buffer.from(filter.prefix);
  if (filter.exactStoredKey !== undefined) return { from, to: after(from), isAll: true };
  // A key that is the prefix itself does not match: a tail stands for at least one token.
  if (filter.matchesAllBelow && from.length > 0)
    return { from: after(from), to: endOfPrefix(from), isAll: true };
  return { from, to: endOfPrefix(from), isAll: filter.matchesAllBelow };
}

/** What ranges have from `from` to before `to`; undefined: without that bound. */
export function within(
  ranges: readonly KeyRange[],
  from: Uint8Array | undefined,
  to: Uint8Array | undefined,
): readonly KeyRange[] {
  const bounded = ranges.map((range) => ({
    from: from === undefined || Buffer.compare(from, range.from) < 0 ? range.from : from,
    to: to === undefined || (range.to !== undefined && Buffer.compare(range.to, to) < 0) ? range.to : to,
    isAll: range.isAll,
  }));
  return bounded.filter((range) => range.to === undefined || Buffer.compare(range.from, range.to) < 0);
}

/** The smallest key above this one. */
export function after(key: Uint8Array): Uint8Array {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

/** The smallest text above all that begin with the prefix; undefined: there is none. */
export function endOfPrefix(prefix: Uint8Array): Uint8Array | undefined {
  // UTF-8 has no byte 0xFF: the last byte can always be raised.
  if (prefix.length === 0) return undefined;
  const end = Uint8Array.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/**
 * The part of a bucket's keys that an index holds: all of them, or as many as its memory allows of those that a read needs. A read that comes
 * to the end of a window continues with the next one.
 */
import { type Filter, matchesAny } from "../../kv/filter.js";
import { escapeKey } from "../../kv/names.js";
import { type KeyRange, rangesOf, within } from "./key-ranges.js";

/** Keys that match the filters, from `from` to before `to` (absent: without that bound), and from which end they are read. */
export interface NeededRange {
  readonly kind: "range";
  readonly filters: readonly Filter[];
  readonly from: Uint8Array | undefined;
  readonly to: Uint8Array | undefined;
  readonly isReverse: boolean;
}

/** What a read needs of the index. `count`: the number of live keys alone. */
export type NeededKeys =
  { readonly kind: "count" } | { readonly kind: "named"; readonly keys: readonly string[] } | NeededRange;

export const COUNT_ALONE: NeededKeys = { kind: "count" };
const FIRST_KEY = new Uint8Array(0);

/** The range in which the keys are that match some filters, without those before `from`. */
export function rangeOfFilters(filters: readonly Filter[], from: Uint8Array | undefined): NeededRange {
  const bounds = boundsOf(within(rangesOf(filters), from, undefined));
  return { kind: "range", filters, from: bounds.from ?? from, to: bounds.to, isReverse: false };
}

/** From the first key of some ranges to the end of the last one. */
export function boundsOf(ranges: readonly KeyRange[]): Pick<NeededRange, "from" | "to"> {
  return { from: ranges[0]?.from, to: ranges.at(-1)?.to };
}

export class KeyWindow {
  from: Uint8Array;
  /** Absent: to the last key. */
  to: Uint8Array | undefined;
  private readonly names: ReadonlySet<string> | undefined;
  private readonly filters: readonly Filter[];

  constructor(needed: NeededKeys) {
    const range = needed.kind === "range" ? needed : undefined;
    this.names = needed.kind === "named" ? new Set(needed.keys) : undefined;
    const filters = range?.filters ?? [];
    this.filters = rangesOf(filters).every(({ from, isAll }) => isAll && from.length === 0) ? [] : filters;
    this.from = range?.from ?? FIRST_KEY;
    this.to = range?.to;
  }

  /** Whether every key is in it. */
  get isAll(): boolean {
    const { names, filters, from, to } = this;
    return names === undefined && filters.length === 0 && from.length === 0 && to === undefined;
  }

  /** Whether it was made for some keys by name: it can't be cut. */
  get isNamed(): boolean {
    return this.names !== undefined;
  }

  /** Whether a key is in it: bytes `start` to before `end`. */
  includes(bytes: Uint8Array, start: number, end: number): boolean {
    const { names, filters, from, to } = this;
    if (from.length > 0 || to !== undefined) {
      const key = bytes.subarray(start, end);
      if (Buffer.compare(key, from) < 0 || (to !== undefined && Buffer.compare(key, to) >= 0)) return false;
    }
    if (names === undefined && filters.length === 0) return true;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString();
    return names === undefined ? matchesAny(filters, escapeKey(text)) : names.has(text);
  }

  /** Whether a read that needs these keys can begin with it. */
  serves(needed: NeededKeys): boolean {
    if (this.isAll || needed.kind === "count") return true;
    const { names, from, to } = this;
    if (needed.kind === "named") return names !== undefined && needed.keys.every((key) => names.has(key));
    if (names !== undefined || !this.hasAllOf(needed.filters)) return false;
    if (needed.isReverse) {
      const isBelowEnd = to === undefined || (needed.to !== undefined && Buffer.compare(needed.to, to) <= 0);
      return isBelowEnd && (needed.to === undefined || Buffer.compare(from, needed.to) < 0);
    }
    const start = needed.from ?? FIRST_KEY;
    return Buffer.compare(from, start) <= 0 && (to === undefined || Buffer.compare(start, to) < 0);
  }

  /** Whether it has all that a range needs, from where the range begins. */
  completes({ from, to, isReverse }: NeededRange): boolean {
    if (isReverse) return Buffer.compare(this.from, from ?? FIRST_KEY) <= 0;
    return this.to === undefined || (to !== undefined && Buffer.compare(to, this.to) <= 0);
  }

  /** The rest of a range that this window begins and does not complete. */
  restOf(needed: NeededRange): NeededRange {
    return needed.isReverse ? { ...needed, to: this.from } : { ...needed, from: this.to };
  }

  private hasAllOf(filters: readonly Filter[]): boolean {
    const known = this.filters.map(({ text }) => text);
    return known.length === 0 || (filters.length > 0 && filters.every(({ text }) => known.includes(text)));
  }
}

/** The window of every key. */
export function wholeWindow(): KeyWindow {
  return new KeyWindow(COUNT_ALONE);
}

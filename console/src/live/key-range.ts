/** The part of the keys that is loaded: a range in their byte order that grows at both ends. */
import { compareKeys } from "./key-order.js";

/** What comes before the loaded keys in the order of a list, or after them. */
export type Side = "before" | "after";

/** The smallest text above a key: no key has a control character. */
const above = (key: string): string => `${key}\u0000`;

export class KeyRange {
  /** Whether nothing has been read yet. */
  isNew = true;

  private constructor(
    /** The prefix of all keys: none is below it. */
    private readonly prefix: string,
    /** The range begins here. Undefined: above all keys. */
    public low: string | undefined,
    /** The range ends below this. Undefined: it includes the highest key. */
    public high: string | undefined,
  ) {}

  /** An empty range at `position`: a key there would be the next one above the range. */
  static from(position: string, prefix = ""): KeyRange {
    return new KeyRange(prefix, position, position);
  }

  /** An empty range above `key`, which is the next one below the range. */
  static upTo(key: string): KeyRange {
    return new KeyRange("", above(key), above(key));
  }

  /** An empty range above all keys. */
  static atTop(): KeyRange {
    return new KeyRange("", undefined, undefined);
  }

  /** Whether it includes the lowest key. */
  get hasBottom(): boolean {
    return this.low === this.prefix;
  }

  /** Whether it includes the highest key. */
  get hasTop(): boolean {
    return this.high === undefined;
  }

  covers(key: string): boolean {
    if (this.low === undefined || compareKeys(key, this.low) < 0) return false;
    return this.high === undefined || compareKeys(key, this.high) < 0;
  }

  /** Includes the keys up to `last`. `isHighest`: and no other key is above it. */
  extendUp(last: string | undefined, isHighest: boolean): void {
    this.extendUpTo(isHighest || last === undefined ? undefined : above(last));
  }

  /** Includes the keys below `high`. Undefined: all that are above the range. */
  extendUpTo(high: string | undefined): void {
    this.high = high;
    this.isNew = false;
  }

  /** Includes the keys down to `first`. `isLowest`: and no other key is below it. */
  extendDown(first: string | undefined, isLowest: boolean): void {
    this.low = isLowest || first === undefined ? this.prefix : first;
    this.isNew = false;
  }
}

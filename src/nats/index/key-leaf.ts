/**
 * The leaf of a key tree: up to 128 keys and the facts about each, packed into a few typed arrays. A million JavaScript objects and strings
 * would take several times the memory, and the garbage collector would visit each of them.
 *
 * The facts of a key stand in a slot; `order` lists the slots in the order of the keys, so that an insertion moves one byte per key.
 */

import type { KeyRun } from "./key-run.js";

/** What the index knows of a live key. */
export interface KeyFacts {
  readonly revision: number;
  /** When it was written, in milliseconds since 1970 by the storage's clock. */
  readonly timeMs: number;
  /** What else its entry has beside the value: see `KeyDetails`. */
  readonly detail: number;
  readonly valueBytes: number;
  /** In milliseconds since 1970 by the storage's clock; Infinity: never. */
  readonly expiresAtMs: number;
}

/** Keys in a leaf. Slots are bytes: at most 256. */
export const LEAF_KEYS_MAX = 128;
const CAPACITY_MIN = 16;
/** Small steps: most leaves are between half full and full. */
const GROWTH = 1.25;
const NUMBER_BYTES = 8;
const WORD_BYTES = 4;
const HALF_WORD_BYTES = 2;
/** Revision and time. */
const NUMBER_COLUMNS = 2;
/** Detail, value size and where the key begins. */
const WORD_COLUMNS = 3;
const SLOT_BYTES = NUMBER_COLUMNS * NUMBER_BYTES + WORD_COLUMNS * WORD_BYTES + HALF_WORD_BYTES + 1;
/** What V8 takes for a leaf, its typed arrays and their buffers, measured. */
const OBJECT_BYTES = 900;
const BLOB_BYTES_MIN = 64;

export class KeyLeaf {
  count = 0;
  /** No key of the leaf expires earlier; later where the first one to expire was replaced. */
  expiresFromMs = Infinity;
  private capacity = 0;
  private numbers: Float64Array = new Float64Array(0);
  private words: Uint32Array = new Uint32Array(0);
  private lengths: Uint16Array = new Uint16Array(0);
  private order: Uint8Array = new Uint8Array(0);
  /** Absent while no key expires. */
  private expiries: Float64Array | undefined;
  /** The bytes of the keys, and of some that were removed. */
  private blob: Buffer;
  private blobUsed = 0;
  private keyBytes = 0;

  /** `version`: of the tree that may change this leaf in place. */
  constructor(
    readonly version: number,
    capacity = CAPACITY_MIN,
    blobBytes = BLOB_BYTES_MIN,
  ) {
    this.allocate(capacity);
    this.blob = Buffer.allocUnsafeSlow(blobBytes);
  }

  get isFull(): boolean {
    return this.count === LEAF_KEYS_MAX;
  }

  /** Bytes of memory. */
  get memoryBytes(): number {
    const expiries = this.expiries === undefined ? 0 : this.capacity * NUMBER_BYTES;
    return OBJECT_BYTES + this.capacity * SLOT_BYTES + expiries + this.blob.length;
  }

  /** The position of a key; where it is not there, -1 minus the position at which it belongs. */
  search(key: Uint8Array, length: number): number {
    const { blob, order, lengths, words, capacity } = this;
    const startColumn = 2 * capacity;
    let [low, high] = [0, this.count];
    // Bytes that the key shares with the keys before `low` and at `high`: all between them share these too.
    let [sharedLow, sharedHigh] = [0, 0];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const slot = order[middle] as number;
      const start = words[startColumn + slot] as number;
      const otherLength = lengths[slot] as number;
      const end = length < otherLength ? length : otherLength;
      let at = sharedLow < sharedHigh ? sharedLow : sharedHigh;
      while (at < end && key[at] === blob[start + at]) at++;
      if (at === end && length === otherLength) return middle;
      const isBelow = at === end ? length < otherLength : (key[at] as number) < (blob[start + at] as number);
      if (isBelow) {
        high = middle;
        sharedHigh = at;
      } else {
        low = middle + 1;
        sharedLow = at;
      }
    }
    return -1 - low;
  }

  /** Inserts a key, or replaces its facts unless they are of a later revision. There must be room. Returns whether it is new. */
  put(key: Uint8Array, length: number, facts: KeyFacts): boolean {
    const found = this.search(key, length);
    if (found >= 0) {
      const slot = this.order[found] as number;
      if (facts.revision >= (this.numbers[slot] as number)) this.write(slot, facts);
      return false;
    }
    const slot = this.count;
    if (slot === this.capacity) this.grow();
    this.appendKey(slot, key, 0, length);
    this.write(slot, facts);
    const position = -1 - found;
    this.order.copyWithin(position + 1, position, slot);
    this.order[position] = slot;
    this.count++;
    return true;
  }

  removeAt(position: number): void {
    const slot = this.order[position] as number;
    const last = this.count - 1;
    this.keyBytes -= this.lengths[slot] as number;
    this.order.copyWithin(position, position + 1, this.count);
    this.count = last;
    if (slot === last) return;
    // The last slot's facts move into the free one.
    this.order[this.order.subarray(0, last).indexOf(last)] = slot;
    const { numbers, words, lengths, capacity, expiries } = this;
    for (let column = 0; column < NUMBER_COLUMNS; column++)
      numbers[column * capacity + slot] = numbers[column * capacity + last] as number;
    for (let column = 0; column < WORD_COLUMNS; column++)
      words[column * capacity + slot] = words[column * capacity + last] as number;
    lengths[slot] = lengths[last] as number;
    if (expiries !== undefined) expiries[slot] = expiries[last] as number;
  }

  factsAt(position: number): KeyFacts {
    const { numbers, words, capacity } = this;
    const slot = this.order[position] as number;
    return {
      revision: numbers[slot] as number,
      timeMs: numbers[capacity + slot] as number,
      detail: words[slot] as number,
      valueBytes: words[capacity + slot] as number,
      expiresAtMs: this.expiries?.[slot] ?? Infinity,
    };
  }

  revisionAt(position: number): number {
    return this.numbers[this.order[position] as number] as number;
  }

  keyLengthAt(position: number): number {
    return this.lengths[this.order[position] as number] as number;
  }

  /** The key as text. */
  keyAt(position: number): string {
    const slot = this.order[position] as number;
    const start = this.words[2 * this.capacity + slot] as number;
    return this.blob.toString("utf8", start, start + (this.lengths[slot] as number));
  }

  /** Adds the key to a run. */
  addTo(run: KeyRun, position: number): void {
    const slot = this.order[position] as number;
    const start = this.words[2 * this.capacity + slot] as number;
    run.add(this.blob, start, this.lengths[slot] as number, this.factsAt(position));
  }

  /** A copy of the key. */
  keyBytesAt(position: number): Uint8Array {
    const slot = this.order[position] as number;
    const start = this.words[2 * this.capacity + slot] as number;
    return Uint8Array.from(this.blob.subarray(start, start + (this.lengths[slot] as number)));
  }

  /** Adds the keys that expire up to then to `into`, and brings `expiresFromMs` up to date with the others. */
  expired(nowMs: number, into: Uint8Array[]): void {
    let fromMs = Infinity;
    for (let position = 0; position < this.count; position++) {
      const expiresAtMs = this.expiries?.[this.order[position] as number] ?? Infinity;
      if (expiresAtMs <= nowMs) into.push(this.keyBytesAt(position));
      else if (expiresAtMs < fromMs) fromMs = expiresAtMs;
    }
    this.expiresFromMs = fromMs;
  }

  /** A copy of the keys from one position to before another, which `version` may change. */
  copy(version: number, from = 0, to = this.count): KeyLeaf {
    const capacity = Math.min(LEAF_KEYS_MAX, Math.max(CAPACITY_MIN, Math.ceil((to - from) * GROWTH)));
    let bytes = 0;
    for (let position = from; position < to; position++) bytes += this.keyLengthAt(position);
    const leaf = new KeyLeaf(version, capacity, Math.max(BLOB_BYTES_MIN, bytes + (bytes >>> 3)));
    leaf.append(this, from, to);
    return leaf;
  }

  /** Adds keys of another leaf, which are all greater than those of this one. */
  append(other: KeyLeaf, from = 0, to = other.count): void {
    while (this.capacity < this.count + to - from) this.grow();
    for (let position = from; position < to; position++) {
      const slot = other.order[position] as number;
      const start = other.words[2 * other.capacity + slot] as number;
      this.push(other.blob, start, other.lengths[slot] as number, other.factsAt(position));
    }
  }

  /** Adds a key that is greater than all others: bytes of `from`, beginning at `start`. There must be room. */
  push(from: Uint8Array, start: number, length: number, facts: KeyFacts): void {
    const slot = this.count;
    this.appendKey(slot, from, start, length);
    this.write(slot, facts);
    this.order[slot] = slot;
    this.count++;
  }

  private write(slot: number, facts: KeyFacts): void {
    const { numbers, words, capacity } = this;
    numbers[slot] = facts.revision;
    numbers[capacity + slot] = facts.timeMs;
    words[slot] = facts.detail;
    words[capacity + slot] = facts.valueBytes;
    const { expiresAtMs } = facts;
    if (expiresAtMs !== Infinity) this.expiries ??= new Float64Array(capacity).fill(Infinity);
    if (this.expiries !== undefined) this.expiries[slot] = expiresAtMs;
    if (expiresAtMs < this.expiresFromMs) this.expiresFromMs = expiresAtMs;
  }

  private appendKey(slot: number, from: Uint8Array, start: number, length: number): void {
    if (this.blobUsed + length > this.blob.length) this.repack(length);
    const { blob, blobUsed } = this;
    for (let at = 0; at < length; at++) blob[blobUsed + at] = from[start + at] as number;
    this.words[2 * this.capacity + slot] = blobUsed;
    this.lengths[slot] = length;
    this.blobUsed += length;
    this.keyBytes += length;
  }

  /** Makes room for more key bytes: without those of removed keys, in a larger blob where need be. */
  private repack(more: number): void {
    const { blob: old, count, lengths, words, capacity, keyBytes } = this;
    const needed = keyBytes + more;
    this.blob = Buffer.allocUnsafeSlow(Math.max(BLOB_BYTES_MIN, needed + (needed >>> 2)));
    this.blobUsed = 0;
    for (let slot = 0; slot < count; slot++) {
      const start = words[2 * capacity + slot] as number;
      const length = lengths[slot] as number;
      old.copy(this.blob, this.blobUsed, start, start + length);
      words[2 * capacity + slot] = this.blobUsed;
      this.blobUsed += length;
    }
  }

  private grow(): void {
    const { capacity: old, numbers, words, lengths, order, expiries } = this;
    this.allocate(Math.min(Math.ceil(old * GROWTH), LEAF_KEYS_MAX));
    const { capacity } = this;
    for (let column = 0; column < NUMBER_COLUMNS; column++)
      this.numbers.set(numbers.subarray(column * old, (column + 1) * old), column * capacity);
    for (let column = 0; column < WORD_COLUMNS; column++)
      this.words.set(words.subarray(column * old, (column + 1) * old), column * capacity);
    this.lengths.set(lengths);
    this.order.set(order);
    if (expiries === undefined) return;
    this.expiries = new Float64Array(capacity).fill(Infinity);
    this.expiries.set(expiries);
  }

  private allocate(capacity: number): void {
    this.capacity = capacity;
    const cells = new ArrayBuffer(capacity * SLOT_BYTES);
    const wordsAt = NUMBER_COLUMNS * capacity * NUMBER_BYTES;
    const lengthsAt = wordsAt + WORD_COLUMNS * capacity * WORD_BYTES;
    this.numbers = new Float64Array(cells, 0, NUMBER_COLUMNS * capacity);
    this.words = new Uint32Array(cells, wordsAt, WORD_COLUMNS * capacity);
    this.lengths = new Uint16Array(cells, lengthsAt, capacity);
    this.order = new Uint8Array(cells, lengthsAt + capacity * HALF_WORD_BYTES, capacity);
  }
}

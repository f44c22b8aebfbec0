/** Keys of a bucket that is being loaded, with the facts about each, packed into columns. */
import type { KeyFacts } from "./key-leaf.js";
import { type PackedKeys, sortedOrder } from "./key-sort.js";

/** Keys of one run: sorting them takes some milliseconds. */
export const RUN_KEYS_MAX = 4_096;
const CAPACITY_MIN = 64;
const KEY_BYTES_EXPECTED = 32;
const GROWTH = 2;
/** Of a run as bytes: the number of keys, and whether expiries follow. */
const HEAD_BYTES = 8;
/** Revision, time, detail, value size, start, length and place in the order. */
const SLOT_BYTES = 8 + 8 + 4 + 4 + 4 + 2 + 2;
const EXPIRY_BYTES = 8;

/**
 * Keys are added in any order, each into the next slot. After `sort()`, position p is that of the p-th smallest key; of equal keys, the one of
 * the highest revision comes first.
 */
export class KeyRun implements PackedKeys {
  count = 0;
  starts: Uint32Array = new Uint32Array(0);
  lengths: Uint16Array = new Uint16Array(0);
  revisions: Float64Array = new Float64Array(0);
  blob: Uint8Array;
  private times: Float64Array = new Float64Array(0);
  private details: Uint32Array = new Uint32Array(0);
  private valueSizes: Uint32Array = new Uint32Array(0);
  /** Absent while no key expires. */
  private expiries: Float64Array | undefined;
  private order: Uint16Array = new Uint16Array(0);
  private capacity = 0;
  private blobUsed = 0;

  constructor(capacity = CAPACITY_MIN, blobBytes = CAPACITY_MIN * KEY_BYTES_EXPECTED) {
    this.blob = new Uint8Array(blobBytes);
    this.enlarge(capacity);
  }

  get isFull(): boolean {
    return this.count === RUN_KEYS_MAX;
  }

  get memoryBytes(): number {
    const expiries = this.expiries === undefined ? 0 : EXPIRY_BYTES;
    return this.capacity * (SLOT_BYTES + expiries) + this.blob.length;
  }

  /** An empty run with as much memory. */
  successor(): KeyRun {
    return new KeyRun(this.capacity, this.blob.length);
  }

  /** Adds a key: bytes of `from`, beginning at `start`. */
  add(from: Uint8Array, start: number, length: number, facts: KeyFacts): void {
    if (this.count === this.capacity) this.enlarge(Math.min(RUN_KEYS_MAX, this.capacity * GROWTH));
    if (this.blobUsed + length > this.blob.length)
      this.resizeBlob(Math.max(this.blob.length * GROWTH, this.blobUsed + length));
    const { blob, blobUsed } = this;
    const slot = this.count++;
    for (let at = 0; at < length; at++) blob[blobUsed + at] = from[start + at] as number;
    this.starts[slot] = blobUsed;
    this.lengths[slot] = length;
    this.blobUsed += length;
    this.revisions[slot] = facts.revision;
    this.times[slot] = facts.timeMs;
    this.details[slot] = facts.detail;
    this.valueSizes[slot] = facts.valueBytes;
    const { expiresAtMs } = facts;
    if (expiresAtMs !== Infinity) this.expiries ??= new Float64Array(this.capacity).fill(Infinity);
    if (this.expiries !== undefined) this.expiries[slot] = expiresAtMs;
  }

  /** Sorts the keys. None may be added after that. */
  sort(): void {
    this.resizeBlob(this.blobUsed);
    this.order = new Uint16Array(sortedOrder(this));
  }

  /** A sorted run of some of its keys. Sort it before. */
  only(isKept: (blob: Uint8Array, start: number, length: number, revision: number) => boolean): KeyRun {
    const kept = new KeyRun();
    for (let position = 0; position < this.count; position++) {
      const [start, length] = [this.startAt(position), this.lengthAt(position)];
      if (isKept(this.blob, start, length, this.revisionAt(position)))
        kept.add(this.blob, start, length, this.factsAt(position));
    }
    kept.sort();
    return kept;
  }

  /** The keys as bytes, for {@link KeyRun.ofBytes}. Call it after keys were added in their order. */
  toBytes(): Buffer {
    const { count, blobUsed, expiries } = this;
    const columns = [
      this.revisions.subarray(0, count),
      this.times.subarray(0, count),
      ...(expiries === undefined ? [] : [expiries.subarray(0, count)]),
      this.starts.subarray(0, count),
      this.details.subarray(0, count),
      this.valueSizes.subarray(0, count),
      this.lengths.subarray(0, count),
      this.blob.subarray(0, blobUsed),
    ];
    const head = new Uint32Array([count, expiries === undefined ? 0 : 1]);
    return Buffer.concat([head, ...columns].map((column) => bytesOf(column)));
  }

  /** The run whose keys these bytes are. They must begin at a multiple of 8 of their memory. */
  static ofBytes(bytes: Uint8Array): KeyRun {
    const { buffer, byteOffset } = bytes;
    const [count = 0, hasExpiries = 0] = new Uint32Array(buffer, byteOffset, 2);
    let at = byteOffset + HEAD_BYTES;
    const end = (length: number): number => (at += length) - length;
    const run = new KeyRun(0, 0);
    run.revisions = new Float64Array(buffer, end(8 * count), count);
    run.times = new Float64Array(buffer, end(8 * count), count);
    if (hasExpiries === 1) run.expiries = new Float64Array(buffer, end(8 * count), count);
    run.starts = new Uint32Array(buffer, end(4 * count), count);
    run.details = new Uint32Array(buffer, end(4 * count), count);
    run.valueSizes = new Uint32Array(buffer, end(4 * count), count);
    run.lengths = new Uint16Array(buffer, end(2 * count), count);
    run.blob = new Uint8Array(buffer, at, byteOffset + bytes.length - at);
    run.order = Uint16Array.from(run.lengths, (_, position) => position);
    run.count = count;
    return run;
  }

  lengthAt(position: number): number {
    return this.lengths[this.slotAt(position)] as number;
  }

  startAt(position: number): number {
    return this.starts[this.slotAt(position)] as number;
  }

  byteAt(position: number, offset: number): number {
    return this.blob[this.startAt(position) + offset] as number;
  }

  factsAt(position: number): KeyFacts {
    const slot = this.slotAt(position);
    return {
      revision: this.revisions[slot] as number,
      timeMs: this.times[slot] as number,
      detail: this.details[slot] as number,
      valueBytes: this.valueSizes[slot] as number,
      expiresAtMs: this.expiries?.[slot] ?? Infinity,
    };
  }

  revisionAt(position: number): number {
    return this.revisions[this.slotAt(position)] as number;
  }

  /** How many bytes a key shares with one of another run, where the first `from` are known to be the same. */
  sharedBytes(position: number, other: KeyRun, otherPosition: number, from: number): number {
    const [slot, otherSlot] = [this.slotAt(position), other.slotAt(otherPosition)];
    const { blob } = this;
    const otherBlob = other.blob;
    const [start, otherStart] = [this.starts[slot] as number, other.starts[otherSlot] as number];
    const [length, otherLength] = [this.lengths[slot] as number, other.lengths[otherSlot] as number];
    const end = length < otherLength ? length : otherLength;
    let shared = from;
    while (shared < end && blob[start + shared] === otherBlob[otherStart + shared]) shared++;
    return shared;
  }

  /** Negative if the key comes before that of another run: it is smaller, or equal and of a higher revision. They share `from` bytes. */
  compare(position: number, other: KeyRun, otherPosition: number, from: number): number {
    const shared = this.sharedBytes(position, other, otherPosition, from);
    const [length, otherLength] = [this.lengthAt(position), other.lengthAt(otherPosition)];
    if (shared < length && shared < otherLength)
      return this.byteAt(position, shared) - other.byteAt(otherPosition, shared);
    return length - otherLength || other.revisionAt(otherPosition) - this.revisionAt(position);
  }

  private slotAt(position: number): number {
    return this.order[position] as number;
  }

  private enlarge(capacity: number): void {
    const { starts, lengths, revisions, times, details, valueSizes, expiries } = this;
    this.capacity = capacity;
    this.starts = new Uint32Array(capacity);
    this.lengths = new Uint16Array(capacity);
    this.revisions = new Float64Array(capacity);
    this.times = new Float64Array(capacity);
    this.details = new Uint32Array(capacity);
    this.valueSizes = new Uint32Array(capacity);
    this.starts.set(starts);
    this.lengths.set(lengths);
    this.revisions.set(revisions);
    this.times.set(times);
    this.details.set(details);
    this.valueSizes.set(valueSizes);
    if (expiries === undefined) return;
    this.expiries = new Float64Array(capacity).fill(Infinity);
    this.expiries.set(expiries);
  }

  private resizeBlob(bytes: number): void {
    const blob = new Uint8Array(bytes);
    blob.set(this.blob.subarray(0, this.blobUsed));
    this.blob = blob;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** An inner node of a key tree: its children in the order of their keys, and what they hold together. */
import { KeyLeaf, LEAF_KEYS_MAX } from "./key-leaf.js";

export type KeyNode = KeyBranch | KeyLeaf;

/** Children of a branch. */
export const BRANCH_CHILDREN_MAX = 64;
/** What V8 takes for a branch, for each child of it, and for the child's bound, measured. */
const OBJECT_BYTES = 300;
const CHILD_BYTES = 140;
const NO_KEY = new Uint8Array(0);

export class KeyBranch {
  /** Keys below. */
  count = 0;
  /** No key below expires earlier. */
  expiresFromMs = Infinity;

  /** Made when it is needed, and again after `lows` changed. */
  private heads: Heads | undefined;

  /** `lows[i]`: above every key of the child before, at or below every key of child i. The first one is not used. */
  constructor(
    readonly version: number,
    readonly children: KeyNode[],
    readonly lows: Uint8Array[] = children.map(() => NO_KEY),
  ) {
    this.recount();
  }

  get memoryBytes(): number {
    let bytes = OBJECT_BYTES + this.children.length * CHILD_BYTES;
    for (const child of this.children) bytes += child.memoryBytes;
    return bytes;
  }

  /** The index of the child that a key belongs to. */
  indexOf(key: Uint8Array, length: number): number {
    const { lows } = this;
    this.heads ??= headsOf(lows);
    const { shared, numbers } = this.heads;
    const first = lows[1];
    if (first === undefined) return 0;
    const order = compare(key, Math.min(length, shared), first, shared);
    if (order !== 0) return order < 0 ? 0 : lows.length - 1;
    const head = headOf(key, shared, length);
    let [low, high] = [1, lows.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = numbers[middle] as number;
      const bound = lows[middle] as Uint8Array;
      const isBelow = head === other ? compare(key, length, bound, bound.length) < 0 : head < other;
      if (isBelow) high = middle;
      else low = middle + 1;
    }
    return low - 1;
  }

  copy(version: number): KeyBranch {
    const copy = new KeyBranch(version, [...this.children], [...this.lows]);
    copy.heads = this.heads;
    return copy;
  }

  /** The child, as one that `version` may change. */
  own(index: number, version: number): KeyNode {
    const child = this.children[index] as KeyNode;
    if (child.version === version) return child;
    return (this.children[index] = child.copy(version));
  }

  /** Splits a full leaf into halves. Where the key to insert is above all others of the tree, only that one moves: keys often come in order. */
  splitLeaf(index: number, appended: Uint8Array | undefined): void {
    const child = this.children[index] as KeyLeaf;
    const { version } = this;
    if (appended !== undefined) {
      const low = boundBetween(child.keyBytesAt(child.count - 1), appended);
      this.insert(index + 1, new KeyLeaf(version), low);
      return;
    }
    const middle = child.count >>> 1;
    const low = boundBetween(child.keyBytesAt(middle - 1), child.keyBytesAt(middle));
    this.children[index] = child.copy(version, 0, middle);
    this.insert(index + 1, child.copy(version, middle), low);
  }

  /** Splits a branch that has too many children. */
  splitBranch(index: number): void {
    const child = this.children[index] as KeyBranch;
    const middle = child.children.length >>> 1;
    const low = child.lows[middle] as Uint8Array;
    const right = new KeyBranch(this.version, child.children.splice(middle), child.lows.splice(middle));
    child.heads = undefined;
    child.recount();
    this.insert(index + 1, right, low);
  }

  private insert(index: number, child: KeyNode, low: Uint8Array): void {
    this.children.splice(index, 0, child);
    this.lows.splice(index, 0, low);
    this.heads = undefined;
  }

  /** Removes the child if it is empty; merges it with a neighbour if both are small. */
  shrink(index: number): void {
    const { children } = this;
    if (children.length === 1) return;
    const child = children[index] as KeyNode;
    if (child.count === 0) this.remove(index);
    else if (index + 1 < children.length && this.merge(index)) return;
    else if (index > 0) this.merge(index - 1);
  }

  recount(): void {
    this.count = 0;
    this.expiresFromMs = Infinity;
    for (const child of this.children) {
      this.count += child.count;
      if (child.expiresFromMs < this.expiresFromMs) this.expiresFromMs = child.expiresFromMs;
    }
  }

  private merge(index: number): boolean {
    const right = this.children[index + 1] as KeyNode;
    const left = this.children[index] as KeyNode;
    if (!areSmall(left, right)) return false;
    const owned = this.own(index, this.version);
    if (owned instanceof KeyLeaf) {
      owned.append(right as KeyLeaf);
    } else {
      const { children, lows } = right as KeyBranch;
      owned.children.push(...children);
      owned.lows.push(this.lows[index + 1] as Uint8Array, ...lows.slice(1));
      owned.heads = undefined;
      owned.recount();
    }
    this.remove(index + 1);
    return true;
  }

  private remove(index: number): void {
    this.children.splice(index, 1);
    this.lows.splice(index, 1);
    this.heads = undefined;
  }
}

/** Fractions of the largest size: below the first, a node looks for a neighbour with which it has at most the second. */
const SMALL = 0.25;
const MERGED_MAX = 0.75;

function areSmall(left: KeyNode, right: KeyNode): boolean {
  const max = left instanceof KeyLeaf ? LEAF_KEYS_MAX : BRANCH_CHILDREN_MAX;
  const [one, other] = [sizeOf(left), sizeOf(right)];
  return Math.min(one, other) < SMALL * max && one + other <= MERGED_MAX * max;
}

function sizeOf(node: KeyNode): number {
  return node instanceof KeyLeaf ? node.count : node.children.length;
}

/** The shortest key that is above the left one and not above the right one. */
export function boundBetween(left: Uint8Array, right: Uint8Array): Uint8Array {
  let shared = 0;
  while (shared < left.length && left[shared] === right[shared]) shared++;
  // A copy: a Buffer's slice would share the caller's memory.
  return Uint8Array.from(right.subarray(0, shared + 1));
}

/** The bytes that all bounds of a branch share, and the four that follow, as a number: a search mostly compares numbers that lie together. */
interface Heads {
  readonly shared: number;
  readonly numbers: Uint32Array;
}

function headsOf(lows: readonly Uint8Array[]): Heads {
  const [first, last] = [lows[1] ?? NO_KEY, lows.at(-1) ?? NO_KEY];
  let shared = 0;
  while (shared < first.length && first[shared] === last[shared]) shared++;
  return { shared, numbers: Uint32Array.from(lows, (low) => headOf(low, shared, low.length)) };
}

/** Bytes beyond the end count as 0; who finds two equal compares the keys. */
function headOf(key: Uint8Array, start: number, length: number): number {
  let head = 0;
  for (let at = start; at < start + 4; at++) head = head * 256 + (at < length ? (key[at] as number) : 0);
  return head;
}

function compare(key: Uint8Array, length: number, other: Uint8Array, otherLength: number): number {
  const end = length < otherLength ? length : otherLength;
  for (let at = 0; at < end; at++) {
    const difference = (key[at] as number) - (other[at] as number);
    if (difference !== 0) return difference;
  }
  return length - otherLength;
}

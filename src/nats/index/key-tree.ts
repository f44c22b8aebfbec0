/**
 * The live keys of a bucket in the order of their UTF-8 bytes: a B-tree whose nodes know how many keys are below them. A lookup, a change
 * and the rank of a key take O(log n).
 *
 * `snapshot()` takes O(1): a later change copies the nodes that it touches and that a snapshot may still read.
 */
import { BRANCH_CHILDREN_MAX, KeyBranch, type KeyNode } from "./key-branch.js";
import { type KeyFacts, KeyLeaf } from "./key-leaf.js";
import type { KeyRun } from "./key-run.js";

/** Reads keys. A snapshot does not change. */
export class KeySnapshot {
  constructor(protected root: KeyBranch) {}

  get size(): number {
    return this.root.count;
  }

  /** Bytes of memory. */
  get memoryBytes(): number {
    return this.root.memoryBytes;
  }

  get(key: Uint8Array): KeyFacts | undefined {
    const leaf = this.leafOf(key, key.length);
    const position = leaf.search(key, key.length);
    return position < 0 ? undefined : leaf.factsAt(position);
  }

  /** The revision of a key; 0 where it is not there. */
  revisionOf(key: Uint8Array, length = key.length): number {
    const leaf = this.leafOf(key, length);
    const position = leaf.search(key, length);
    return position < 0 ? 0 : leaf.revisionAt(position);
  }

  /** How many keys are below this one. */
  rank(key: Uint8Array): number {
    let below = 0;
    let node: KeyNode = this.root;
    while (node instanceof KeyBranch) {
      const index = node.indexOf(key, key.length);
      for (let before = 0; before < index; before++) below += (node.children[before] as KeyNode).count;
      node = node.children[index] as KeyNode;
    }
    const position = node.search(key, key.length);
    return below + (position < 0 ? -1 - position : position);
  }

  /** Stands before the first key that is not below this one, or before the key that has so many below it. */
  cursor(from: Uint8Array | number): KeyCursor {
    return new KeyCursor(this.root, from);
  }

  /** The leaves in order, each with the number of keys before it. */
  leaves(): { readonly leaves: readonly KeyLeaf[]; readonly before: readonly number[] } {
    const [leaves, before]: [KeyLeaf[], number[]] = [[], []];
    let count = 0;
    const visit = (node: KeyNode): void => {
      if (node instanceof KeyBranch) {
        for (const child of node.children) visit(child);
        return;
      }
      leaves.push(node);
      before.push(count);
      count += node.count;
    };
    visit(this.root);
    return { leaves, before };
  }

  private leafOf(key: Uint8Array, length: number): KeyLeaf {
    let node: KeyNode = this.root;
    while (node instanceof KeyBranch) node = node.children[node.indexOf(key, length)] as KeyNode;
    return node;
  }
}

/** Goes through keys in their order, as long as the tree is not changed. */
export class KeyCursor {
  private readonly path: { readonly branch: KeyBranch; index: number }[] = [];
  private leaf: KeyLeaf;
  private position: number;

  constructor(root: KeyBranch, from: Uint8Array | number) {
    let node: KeyNode = root;
    let below = typeof from === "number" ? from : 0;
    while (node instanceof KeyBranch) {
      let index = 0;
      if (typeof from !== "number") index = node.indexOf(from, from.length);
      else
        for (const last = node.children.length - 1; index < last; index++) {
          const { count } = node.children[index] as KeyNode;
          if (below < count) break;
          below -= count;
        }
      this.path.push({ branch: node, index });
      node = node.children[index] as KeyNode;
    }
    this.leaf = node;
    const found = typeof from === "number" ? below : node.search(from, from.length);
    this.position = (found < 0 ? -1 - found : found) - 1;
  }

  /** Moves to the next key. False: there is none. */
  next(): boolean {
    this.position++;
    while (this.position >= this.leaf.count) {
      const leaf = this.nextLeaf();
      if (leaf === undefined) return false;
      this.leaf = leaf;
      this.position = 0;
    }
    return true;
  }

  get key(): string {
    return this.leaf.keyAt(this.position);
  }

  get keyLength(): number {
    return this.leaf.keyLengthAt(this.position);
  }

  get revision(): number {
    return this.leaf.revisionAt(this.position);
  }

  get facts(): KeyFacts {
    return this.leaf.factsAt(this.position);
  }

  addTo(run: KeyRun): void {
    this.leaf.addTo(run, this.position);
  }

  private nextLeaf(): KeyLeaf | undefined {
    let step = this.path.pop();
    while (step !== undefined && step.index + 1 >= step.branch.children.length) step = this.path.pop();
    if (step === undefined) return undefined;
    step.index++;
    this.path.push(step);
    let node = step.branch.children[step.index] as KeyNode;
    while (node instanceof KeyBranch) {
      this.path.push({ branch: node, index: 0 });
      node = node.children[0] as KeyNode;
    }
    return node;
  }
}

export class KeyTree extends KeySnapshot {
  /** Of the nodes that no snapshot reads. */
  private version = 0;

  constructor(root = new KeyBranch(0, [new KeyLeaf(0)])) {
    super(root);
  }

  /** The keys as they are now. */
  snapshot(): KeySnapshot {
    this.version++;
    return new KeySnapshot(this.root);
  }

  /** Inserts a key, or replaces its facts unless they are of a later revision. Returns whether it is new. */
  set(key: Uint8Array, facts: KeyFacts, length = key.length): boolean {
    this.ownRoot();
    const isNew = this.setBelow(this.root, key, length, facts, true);
    if (this.root.children.length > BRANCH_CHILDREN_MAX) {
      const above = new KeyBranch(this.version, [this.root]);
      above.splitBranch(0);
      this.root = above;
    }
    return isNew;
  }

  /** Removes a key. Returns whether it was there. */
  delete(key: Uint8Array, length = key.length): boolean {
    if (this.revisionOf(key, length) === 0) return false;
    this.ownRoot();
    this.deleteBelow(this.root, key, length);
    for (;;) {
      const only = this.root.children.length === 1 ? this.root.children[0] : undefined;
      if (!(only instanceof KeyBranch)) return true;
      this.root = only;
    }
  }

  /** Keys that expire up to then, at most about `max` of them, for the caller to remove. */
  expired(nowMs: number, max: number): readonly Uint8Array[] {
    const keys: Uint8Array[] = [];
    collectExpired(this.root, nowMs, max, keys);
    return keys;
  }

  private ownRoot(): void {
    if (this.root.version !== this.version) this.root = this.root.copy(this.version);
  }

  private setBelow(
    branch: KeyBranch,
    key: Uint8Array,
    length: number,
    facts: KeyFacts,
    isLast: boolean,
  ): boolean {
    let index = branch.indexOf(key, length);
    const isLastChild = isLast && index === branch.children.length - 1;
    const child = branch.children[index] as KeyNode;
    let isNew: boolean;
    if (child instanceof KeyLeaf) {
      const position = child.isFull ? child.search(key, length) : 0;
      if (position < 0) {
        const isAppended = isLastChild && -1 - position === child.count;
        branch.splitLeaf(index, isAppended ? key.subarray(0, length) : undefined);
        index = branch.indexOf(key, length);
      }
      isNew = (branch.own(index, this.version) as KeyLeaf).put(key, length, facts);
    } else {
      const owned = branch.own(index, this.version) as KeyBranch;
      isNew = this.setBelow(owned, key, length, facts, isLastChild);
      if (owned.children.length > BRANCH_CHILDREN_MAX) branch.splitBranch(index);
    }
    if (isNew) branch.count++;
    if (facts.expiresAtMs < branch.expiresFromMs) branch.expiresFromMs = facts.expiresAtMs;
    return isNew;
  }

  private deleteBelow(branch: KeyBranch, key: Uint8Array, length: number): void {
    const index = branch.indexOf(key, length);
    const child = branch.own(index, this.version);
    if (child instanceof KeyLeaf) child.removeAt(child.search(key, length));
    else this.deleteBelow(child, key, length);
    branch.count--;
    branch.shrink(index);
  }
}

/** `expiresFromMs` is a bound: bringing it up to date does not change what a snapshot reads. */
function collectExpired(node: KeyNode, nowMs: number, max: number, keys: Uint8Array[]): void {
  if (node.expiresFromMs > nowMs || keys.length >= max) return;
  if (node instanceof KeyLeaf) {
    node.expired(nowMs, keys);
    return;
  }
  let fromMs = Infinity;
  for (const child of node.children) {
    collectExpired(child, nowMs, max, keys);
    if (child.expiresFromMs < fromMs) fromMs = child.expiresFromMs;
  }
  node.expiresFromMs = fromMs;
}

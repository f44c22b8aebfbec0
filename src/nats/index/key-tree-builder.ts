/** Builds a key tree from keys in their order: many times faster than inserting them one by one. */
import { boundBetween, KeyBranch, type KeyNode } from "./key-branch.js";
import { KeyLeaf } from "./key-leaf.js";
import type { KeyRun } from "./key-run.js";
import { KeyTree } from "./key-tree.js";

/** Keys of a leaf and children of a branch. Some places stay free, so that the first insertions split few nodes. */
const LEAF_KEYS = 112;
const BRANCH_CHILDREN = 48;
/** The version of a tree that has no snapshots. */
const VERSION = 0;
const NO_KEY: Uint8Array = new Uint8Array(0);

export class KeyTreeBuilder {
  private readonly leaves: KeyNode[] = [];
  private readonly lows: Uint8Array[] = [];
  /** The keys of the next leaf. */
  private readonly runs: KeyRun[] = [];
  private readonly positions: number[] = [];
  private lastKey: Uint8Array = NO_KEY;

  /** Adds a key of a run. It must be greater than all before it. */
  add(run: KeyRun, position: number): void {
    this.runs.push(run);
    this.positions.push(position);
    if (this.runs.length === LEAF_KEYS) this.endLeaf();
  }

  finish(): KeyTree {
    if (this.runs.length > 0) this.endLeaf();
    if (this.leaves.length === 0) return new KeyTree();
    let [nodes, lows] = [this.leaves, this.lows];
    do [nodes, lows] = branchesOf(nodes, lows);
    while (nodes.length > 1);
    const [root] = nodes;
    return root instanceof KeyBranch ? new KeyTree(root) : new KeyTree();
  }

  private endLeaf(): void {
    const { runs, positions } = this;
    let bytes = 0;
    for (let index = 0; index < runs.length; index++)
      bytes += (runs[index] as KeyRun).lengthAt(positions[index] as number);
    const leaf = new KeyLeaf(VERSION, runs.length, bytes);
    for (let index = 0; index < runs.length; index++) {
      const [run, position] = [runs[index] as KeyRun, positions[index] as number];
      leaf.push(run.blob, run.startAt(position), run.lengthAt(position), run.factsAt(position));
    }
    this.lows.push(this.leaves.length === 0 ? NO_KEY : boundBetween(this.lastKey, leaf.keyBytesAt(0)));
    this.leaves.push(leaf);
    this.lastKey = leaf.keyBytesAt(leaf.count - 1);
    runs.length = 0;
    positions.length = 0;
  }
}

/** Branches with these children, about as many in each. */
function branchesOf(children: KeyNode[], lows: Uint8Array[]): [KeyNode[], Uint8Array[]] {
  const branches: KeyNode[] = [];
  const branchLows: Uint8Array[] = [];
  const size = Math.ceil(children.length / Math.ceil(children.length / BRANCH_CHILDREN));
  for (let from = 0; from < children.length; from += size) {
    branches.push(new KeyBranch(VERSION, children.slice(from, from + size), lows.slice(from, from + size)));
    branchLows.push(lows[from] ?? NO_KEY);
  }
  return [branches, branchLows];
}

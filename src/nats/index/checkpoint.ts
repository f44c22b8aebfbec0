/** What an index had at a revision, to be written to a file, and what the file says of it. */
import type { LastSeen } from "../feed/rollback.js";
import type { KeyTree } from "./key-tree.js";

export interface IndexCheckpoint<Tree = KeyTree> {
  /** When the bucket was created, as the server wrote it. */
  readonly created: string;
  /** The bucket's ttl in milliseconds, from which expiries were computed; 0: none. */
  readonly ageMsMax: number;
  /** Every message up to here is in the trees. */
  readonly revision: number;
  /** The last message that the bucket's feed had shown. */
  readonly lastSeen: LastSeen;
  /** See `BucketIndex`. */
  readonly accepted: number;
  /** Up to where compacted tombstones were forgotten. */
  readonly compactedTo: number;
  /** See `KeyDetails`. */
  readonly contentTypes: readonly string[];
  /** The live keys; tombstones and keys that are not shown; what has expired and may still be stored. */
  readonly trees: readonly [Tree, Tree, Tree];
}

/** The facts of a checkpoint as JSON. */
export function factsOf({ lastSeen, ...others }: IndexCheckpoint<unknown>): string {
  const { change, storedAtNanos, sequence } = lastSeen;
  const { created, ageMsMax, revision, accepted, compactedTo, contentTypes } = others;
  const lastChange = change === undefined ? null : { ...change, expiresAtMs: String(change.expiresAtMs) };
  const stored: StoredFacts = {
    ...{ created, ageMsMax, revision, accepted, compactedTo, contentTypes },
    lastSeen: { sequence, storedAtNanos: storedAtNanos.toString(), change: lastChange },
  };
  return JSON.stringify(stored);
}

/** The checkpoint with these facts, which {@link factsOf} wrote. */
export function checkpointOf(facts: string, trees: readonly KeyTree[]): IndexCheckpoint {
  const { lastSeen, ...others } = JSON.parse(facts) as StoredFacts;
  const { sequence, storedAtNanos, change } = lastSeen;
  const [live, present, leaving] = trees;
  if (live === undefined || present === undefined || leaving === undefined)
    throw new Error("a tree is missing");
  return {
    ...others,
    lastSeen: {
      sequence,
      storedAtNanos: BigInt(storedAtNanos),
      change: change === null ? undefined : { ...change, expiresAtMs: Number(change.expiresAtMs) },
    },
    trees: [live, present, leaving],
  };
}

interface StoredFacts extends Omit<IndexCheckpoint, "lastSeen" | "trees"> {
  readonly lastSeen: {
    readonly sequence: number;
    readonly storedAtNanos: string;
    /** The expiry is a text: JSON has no infinity. */
    readonly change: {
      readonly subject: string;
      readonly isPut: boolean;
      readonly expiresAtMs: string;
    } | null;
  };
}

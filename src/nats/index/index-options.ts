/** How an index is loaded. */
import type { NeededKeys } from "./key-window.js";
import type { IndexSizes } from "./window-load.js";

export interface BucketIndexOptions {
  /** The index does not describe the bucket any more, or can't be kept current. */
  readonly onOver: (why: string) => void;
  /**
   * Accept that the stream has another number of subjects than the index after loading: it was loaded twice, and nothing explains it. Later
   * differences count from there.
   */
  readonly acceptsDifference: boolean;
  readonly sizes: IndexSizes;
  /** What the read that loads it needs. */
  readonly needed: NeededKeys;
  /** Whether the bucket's keys are known not to fit into memory. */
  isLarge: boolean;
}

/** How much memory the key indexes may take. */
import { totalmem } from "node:os";

const MEMORY_PART = 0.1;

/** A tenth of what this process may use, in bytes: of the machine's memory, or of what a container is allowed of it. */
export function defaultIndexBytesMax(): number {
  const allowed = process.constrainedMemory();
  return Math.floor((allowed > 0 ? Math.min(totalmem(), allowed) : totalmem()) * MEMORY_PART);
}

interface Sized {
  readonly memoryBytes: number;
  /** The most that it took while it was loaded. */
  readonly peakBytes: number;
}

/** The memory of some indexes together, and the most that it was: at least `peakBytes`. */
export function memoryOf(indexes: readonly Sized[], peakBytes: number): [bytes: number, peakBytes: number] {
  let [sum, peakSum] = [0, 0];
  for (const index of indexes) {
    const { memoryBytes } = index;
    sum += memoryBytes;
    peakSum += Math.max(memoryBytes, index.peakBytes);
  }
  return [sum, Math.max(peakBytes, peakSum)];
}

/** How much memory the key indexes may take. */
import { totalmem } from "node:os";

const MEMORY_PART = 0.1;

/** A tenth of what this process may use, in bytes: of the machine's memory, or of what a container is allowed of it. */
export function defaultIndexBytesMax(): number {
  const allowed = process.constrainedMemory();
  return Math.floor((allowed > 0 ? Math.min(totalmem(), allowed) : totalmem()) * MEMORY_PART);
}

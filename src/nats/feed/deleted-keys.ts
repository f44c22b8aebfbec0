/**
 * Keys that were deleted, so that a tombstone which ages out is no second delete: the storage leaves an expiry marker for a tombstone that
 * another program wrote, as it does for a value. The service's own tombstones carry a header against it (`DELETE_LINE`).
 */
import type { Change } from "../read/delivery.js";

/** Keys remembered, the latest. */
const KEYS_MAX = 4_096;

export class DeletedKeys {
  private readonly keys = new Set<string>();

  /** Takes the changes in their order; true for an expiry of what was deleted before. */
  isRepeated({ operation, storedKey }: Change): boolean {
    if (operation === "expire") return this.keys.delete(storedKey);
    if (operation !== "delete") {
      this.keys.delete(storedKey);
      return false;
    }
    this.keys.add(storedKey);
    const [oldest] = this.keys;
    if (this.keys.size > KEYS_MAX && oldest !== undefined) this.keys.delete(oldest);
    return false;
  }
}

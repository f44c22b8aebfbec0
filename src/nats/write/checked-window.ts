/**
 * How many checked writes may share a batch: one that is refused sends all of its batch once more. The window grows by an eighth of a write
 * for each that is accepted, and halves at each refusal (additive increase, multiplicative decrease, as in TCP: RFC 5681).
 */
import { BATCH_MESSAGES_MIN } from "./batch-plan.js";

export class CheckedWindow {
  private size = INITIAL_SIZE;

  /** 0: checked writes are sent alone. */
  get limit(): number {
    return this.size < BATCH_MESSAGES_MIN ? 0 : Math.floor(this.size);
  }

  accepted(count: number): void {
    this.size = Math.min(SIZE_MAX, this.size + count * GROWTH);
  }

  refused(): void {
    this.size = Math.max(1, this.size / 2);
  }
}

const INITIAL_SIZE = 48;
const SIZE_MAX = 1_000;
const GROWTH = 0.125;

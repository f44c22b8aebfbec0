/** Bytes reserved for one answer, until they have arrived. The place of a bulk read is held as long. */
import type { BulkReads } from "./bulk-reads.js";
import type { ByteBudget } from "./byte-budget.js";

export class Reservation {
  private isComplete = false;

  constructor(
    private readonly budget: ByteBudget,
    private bytes: number,
    /** Undefined: it is not a bulk read. */
    private readonly bulkReads: BulkReads | undefined,
  ) {}

  /** Part of the answer has arrived. */
  arrived(bytes: number): void {
    const arrived = Math.min(bytes, this.bytes);
    this.bytes -= arrived;
    this.budget.release(arrived);
  }

  /** The answer is complete, or will not come. */
  complete(): void {
    if (this.isComplete) return;
    this.isComplete = true;
    this.arrived(this.bytes);
    this.bulkReads?.end();
  }
}

/** The memory that reads of one kind may take together for what was read and is not sent yet. Callers that wait take turns. */
import { type CallContext, flowOf } from "../../kv/call-context.js";
import type { HeldMemory } from "../../kv/held-memory.js";
import { ByteBudget } from "../client/byte-budget.js";
import { withinContext } from "../client/shared-work.js";

export interface ReservedMemory {
  readonly bytes: number;
  readonly release: () => void;
}

export class ReadMemory {
  private readonly budget: ByteBudget;

  constructor(bytesMax: number) {
    this.budget = new ByteBudget(bytesMax);
  }

  /** The most that was ever reserved. */
  get peak(): number {
    return this.budget.peak;
  }

  get reserved(): number {
    return this.budget.reserved;
  }

  /** Reserves `spareBytes` if so much is to spare, or else waits for `bytes`. Throws `NoReplyError` when the context ends before. */
  async reserve(bytes: number, spareBytes: number, context: CallContext): Promise<ReservedMemory> {
    const { budget } = this;
    if (budget.hasSpareRoom(spareBytes)) return this.reserveMore(spareBytes);
    const size = budget.sizeOf(bytes);
    let isWanted = true;
    const granted = new Promise<ReservedMemory>((resolve) => {
      const onGranted = (): boolean => {
        if (isWanted) resolve(this.reservedOf(size));
        return isWanted;
      };
      budget.reserve(size, onGranted, flowOf(context));
    });
    try {
      return await withinContext(context, granted);
    } catch (error) {
      isWanted = false;
      // It may have been granted in the moment in which the context ended.
      void granted.then(({ release }) => release());
      throw error;
    }
  }

  /** More for a call that has memory, without waiting, even beyond the budget: calls that wait for each other with memory would never end. */
  reserveMore(bytes: number): ReservedMemory {
    this.budget.count(bytes);
    return this.reservedOf(bytes);
  }

  /** Reserves what a call holds until its response is encoded. A call that holds some does not wait: see `reserveMore`. */
  async hold(bytes: number, held: HeldMemory, context: CallContext): Promise<void> {
    const reserved = held.isEmpty ? await this.reserve(bytes, bytes, context) : this.reserveMore(bytes);
    held.add(reserved.release);
  }

  private reservedOf(bytes: number): ReservedMemory {
    let isReserved = true;
    const release = (): void => {
      if (isReserved) this.budget.release(bytes);
      isReserved = false;
    };
    return { bytes, release };
  }
}

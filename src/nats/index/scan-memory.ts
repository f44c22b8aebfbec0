/** The memory that all running scans may take for values that were read and not sent yet. Callers that wait take turns. */
import { flowOf } from "../../kv/call-context.js";
import type { CallContext } from "../../kv/store.js";
import { ByteBudget } from "../client/byte-budget.js";
import { withinContext } from "../client/shared-work.js";

export class ScanMemory {
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

  /** Resolves when there is room, with what releases it. Throws `NoReplyError` when the context ends before. */
  async reserve(bytes: number, context: CallContext): Promise<() => void> {
    const { budget } = this;
    const size = budget.sizeOf(bytes);
    let isWanted = true;
    const granted = new Promise<void>((resolve) => {
      const onGranted = (): boolean => {
        resolve();
        return isWanted;
      };
      budget.reserve(size, onGranted, flowOf(context));
    });
    let isReserved = true;
    const release = (): void => {
      if (isReserved) budget.release(size);
      isReserved = false;
    };
    await withinContext(context, granted).catch((error: unknown) => {
      isWanted = false;
      throw error;
    });
    return release;
  }
}

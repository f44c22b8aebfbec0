/** Limits how many windows of indexes are read for longer at once: each stays in memory until it is released. */
import type { CallContext } from "../../kv/call-context.js";
import { withinContext } from "../client/shared-work.js";
import { Semaphore } from "../feed/semaphore.js";

export class HeldWindows {
  private readonly permits: Semaphore;

  constructor(windowsMax: number) {
    this.permits = new Semaphore(windowsMax);
  }

  /** Resolves when the window may be read, with what releases it. Throws `KvError` if the context ends first. */
  async hold(context: CallContext): Promise<() => void> {
    const turn: { onGiveUp: (() => void) | undefined } = { onGiveUp: undefined };
    const permit = this.permits.acquire(turn);
    try {
      return (await withinContext(context, permit)) ?? ((): void => undefined);
    } catch (error) {
      turn.onGiveUp?.();
      void permit.then((release) => release?.());
      throw error;
    }
  }
}

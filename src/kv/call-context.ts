/** Cancellation of a call, and whose call it is. */
import type { CallContext } from "./store.js";

/** Whether the client canceled the call. */
export function isCanceled(context: Pick<CallContext, "signal" | "isCanceled">): boolean {
  return context.isCanceled ?? context.signal.aborted;
}

/** Whose call it is, for the fair order of bulk work. */
export function flowOf(context: Pick<CallContext, "flow">): unknown {
  return context.flow ?? context;
}

/** The longest delay of a JavaScript timer. */
const TIMER_MS_MAX = 2_147_483_647;

/** Milliseconds until the context's deadline, in the range of a timer. */
export function timeLeftMs({ deadlineMs }: Pick<CallContext, "deadlineMs">): number {
  return Math.min(TIMER_MS_MAX, Math.max(0, deadlineMs - performance.now()));
}

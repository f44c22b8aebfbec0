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

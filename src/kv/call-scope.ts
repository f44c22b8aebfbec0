/** Cancellation of a call, and whose call it is. */
import type { CallScope } from "./store.js";

/** Whether the client canceled the call. */
export function isCanceled(scope: Pick<CallScope, "signal" | "isCanceled">): boolean {
  return scope.isCanceled ?? scope.signal.aborted;
}

/** Whose call it is, for the fair order of bulk work. */
export function flowOf(scope: Pick<CallScope, "flow">): unknown {
  return scope.flow ?? scope;
}

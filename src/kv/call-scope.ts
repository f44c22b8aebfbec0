/** Cancellation of a call. */
import type { CallScope } from "./store.js";

/** Whether the client canceled the call. */
export function isCanceled(scope: Pick<CallScope, "signal" | "isCanceled">): boolean {
  return scope.isCanceled ?? scope.signal.aborted;
}

/** Whether somebody still waits for a call. */
import type { CallScope } from "./store.js";

/** Whether the caller gave up. */
export function isCanceled(scope: Pick<CallScope, "signal" | "isCanceled">): boolean {
  return scope.isCanceled ?? scope.signal.aborted;
}

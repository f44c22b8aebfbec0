/** Cancellation of a call, and whose call it is. */

import type { HeldMemory } from "./held-memory.js";

/** The deadline and cancellation of one call. */
export interface CallContext {
  /** The deadline, in milliseconds of `performance.now()`. */
  readonly deadlineMs: number;
  /**
   * Moves `deadlineMs` to the longest time that a call may take, where the client set none: the call waits for work that is done once, such as
   * loading a key index. Default: the deadline stays.
   */
  extendDeadline?(): void;
  /** Aborted when the client cancels. Creating it may be expensive: do not read it before it is needed. */
  readonly signal: AbortSignal;
  /** Whether the client canceled, without creating the signal. Default: the signal's state. */
  readonly isCanceled?: boolean | undefined;
  /** Identifies the caller: bulk work is done for the callers in turn. Default: each context is a caller of its own. */
  readonly flow?: unknown;
  /**
   * Memory of what the call reads. Who passes it on releases it when the response is encoded, or the call has failed. Default: released when
   * the store's method returns.
   */
  readonly held?: HeldMemory | undefined;
}

/** Whether the client canceled the call. */
export function isCanceled(context: Pick<CallContext, "signal" | "isCanceled">): boolean {
  return context.isCanceled ?? context.signal.aborted;
}

/** A timer may fire so much earlier than the clock says. */
const TIMER_EARLY_MS = 2;

/** Why a call has ended. Its signal is aborted when the client cancels, and by a timer at its deadline. */
export function endReason({ deadlineMs }: Pick<CallContext, "deadlineMs">): "deadline" | "canceled" {
  return performance.now() >= deadlineMs - TIMER_EARLY_MS ? "deadline" : "canceled";
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

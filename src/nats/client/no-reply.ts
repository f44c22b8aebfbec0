/** Requests that end without a reply. */
import type { CallContext } from "../../kv/store.js";

/**
 * A request ended without a reply. `sent`: false if it certainly did not leave this process.
 *
 * `interrupted`: its connection was lost while NATS is available, so an idempotent request can be repeated at once. `disconnected`: NATS is
 * unavailable.
 */
export class NoReplyError extends Error {
  override readonly name = "NoReplyError";
  constructor(
    readonly reason: "deadline" | "canceled" | "disconnected" | "interrupted" | "no_responders",
    readonly sent: boolean,
  ) {
    super(reason);
  }
}

/** The longest delay of a JavaScript timer. */
const TIMER_MS_MAX = 2_147_483_647;

/** Milliseconds until the context's deadline, in the range of a timer. */
export function timeLeftMs({ deadlineMs }: CallContext): number {
  return Math.min(TIMER_MS_MAX, Math.max(0, deadlineMs - performance.now()));
}

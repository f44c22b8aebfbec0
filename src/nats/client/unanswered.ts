/** Requests that end without a reply. */
import type { CallScope } from "../../kv/store.js";

/** A request ended without a reply. `sent`: false if it certainly did not leave this process. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
  constructor(
    readonly reason: "deadline" | "canceled" | "disconnected" | "no_responders",
    readonly sent: boolean,
  ) {
    super(reason);
  }
}

/** The longest delay of a JavaScript timer. */
const TIMER_MS_MAX = 2_147_483_647;

/** Milliseconds until the scope's deadline, in the range of a timer. */
export function timeLeftMs({ deadlineMs }: CallScope): number {
  return Math.min(TIMER_MS_MAX, Math.max(0, deadlineMs - performance.now()));
}

/** How requests end without an answer, and when. */
import type { CallScope } from "../../kv/store.js";

/** A request that got no answer. `sent` is false where nothing can have left this process. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
  constructor(
    readonly reason: "deadline" | "canceled" | "disconnected" | "no_responders",
    readonly sent: boolean,
  ) {
    super(reason);
  }
}

/** The longest time of a timer. */
const TIMER_MS_MAX = 2_147_483_647;

/** Milliseconds until the scope's deadline, as a timer takes them. */
export function timeLeftMs({ deadlineMs }: CallScope): number {
  return Math.min(TIMER_MS_MAX, Math.max(0, deadlineMs - performance.now()));
}

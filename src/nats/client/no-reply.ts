/** Requests that end without a reply. */

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

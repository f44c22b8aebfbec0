/** Waits for a connection to NATS that is lost. */
import { type CallContext, endReason } from "../../kv/call-context.js";
import type { Link } from "./link.js";
import { NoReplyError } from "./no-reply.js";

const CHECK_INTERVAL_MS = 20;

/**
 * Resolves when the connection is up. Rejects with {@link NoReplyError}: `disconnected` if it is not worth waiting for, `deadline` or `canceled` if
 * the context ends first.
 */
export async function untilConnected(
  link: Link,
  context: CallContext,
  isWorthwhile: () => boolean,
): Promise<void> {
  while (!link.isConnected) {
    if (!isWorthwhile()) throw new NoReplyError("disconnected", false);
    if (performance.now() >= context.deadlineMs) throw new NoReplyError("deadline", false);
    if (context.signal.aborted) throw new NoReplyError(endReason(context), false);
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        stopListening();
        resolve();
      };
      const timer = setTimeout(wake, CHECK_INTERVAL_MS);
      const stopListening = link.onReconnect(wake);
    });
  }
}

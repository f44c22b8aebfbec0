/** Waits for work that several callers share, such as one read for all of them, or that continues without its caller. */
import { type CallContext, endReason, timeLeftMs } from "../../kv/call-context.js";
import type { Requests } from "./requests.js";
import { NoReplyError } from "./no-reply.js";

/**
 * Settles as the work does. Rejects with `NoReplyError` as soon as the context ends or, with `requests`, NATS is unavailable; the work goes on.
 */
export function withinContext<Result>(
  context: CallContext,
  work: Promise<Result>,
  requests?: Requests,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const { signal } = context;
    const giveUp = (reason: NoReplyError["reason"]): void => {
      stop();
      reject(new NoReplyError(reason, true));
    };
    const cancel = (): void => giveUp(endReason(context));
    const disconnect = (): void => giveUp("disconnected");
    const timer = setTimeout(() => giveUp("deadline"), timeLeftMs(context));
    const stopListening = requests?.link.onUnreachable(disconnect);
    const stop = (): void => {
      clearTimeout(timer);
      stopListening?.();
      signal.removeEventListener("abort", cancel);
    };
    signal.addEventListener("abort", cancel);
    work.then(resolve, reject).finally(stop);
    if (signal.aborted) cancel();
    else if (requests?.isReachable === false) disconnect();
  });
}

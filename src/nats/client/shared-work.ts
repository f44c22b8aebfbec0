/** Waits for work that several callers share, such as one read for all of them, or that goes on without its caller. */
import type { CallScope } from "../../kv/store.js";
import type { Requests } from "./requests.js";
import { timeLeftMs, Unanswered } from "./unanswered.js";

/**
 * Settles as the work does. Rejects with `Unanswered` as soon as the scope ends or, with `requests`, the connection is lost; the work goes on.
 */
export function whileInScope<Result>(
  scope: CallScope,
  work: Promise<Result>,
  requests?: Requests,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const { signal } = scope;
    const giveUp = (reason: Unanswered["reason"]) => (): void => {
      stop();
      reject(new Unanswered(reason, true));
    };
    const cancel = giveUp("canceled");
    const disconnect = giveUp("disconnected");
    const timer = setTimeout(giveUp("deadline"), timeLeftMs(scope));
    const stopListening = requests?.onDisconnect(disconnect);
    const stop = (): void => {
      clearTimeout(timer);
      stopListening?.();
      signal.removeEventListener("abort", cancel);
    };
    signal.addEventListener("abort", cancel);
    work.then(resolve, reject).finally(stop);
    if (signal.aborted) cancel();
    else if (requests?.isConnected === false) disconnect();
  });
}

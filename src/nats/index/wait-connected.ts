/** Waits for something that the storage has to bring about. */
import type { CallScope } from "../../kv/store.js";
import type { Requests } from "../client/requests.js";
import { timeLeftMs, Unanswered } from "../client/unanswered.js";

/** Resolves with the promise. Throws `Unanswered` at once when the scope ends or the connection is lost; what was waited for may go on. */
export function waitConnected(requests: Requests, scope: CallScope, promise: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const { signal } = scope;
    const end = (reason: Unanswered["reason"]) => (): void => {
      stop();
      reject(new Unanswered(reason, true));
    };
    const cancel = end("canceled");
    const disconnect = end("disconnected");
    const timer = setTimeout(end("deadline"), timeLeftMs(scope));
    const stopListening = requests.onDisconnect(disconnect);
    const stop = (): void => {
      clearTimeout(timer);
      stopListening();
      signal.removeEventListener("abort", cancel);
    };
    signal.addEventListener("abort", cancel);
    if (signal.aborted) cancel();
    else if (!requests.isConnected) disconnect();
    promise.then(
      () => {
        stop();
        resolve();
      },
      (error: unknown) => {
        stop();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}

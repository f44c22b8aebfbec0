/** Waiting for work that several callers share, or that no deadline limits: each waits only as long as its own call lasts. */
import type { CallScope } from "../../kv/store.js";
import { unavailable } from "../client/errors.js";
import { timeLeftMs, Unanswered } from "../client/unanswered.js";
import { canceled } from "./endings.js";

/** Resolves as the work does. Rejects with a `KvError` if the scope ends first; the work goes on. */
export function inTime<Result>(work: Promise<Result>, scope: CallScope, bucket: string): Promise<Result> {
  return new Promise((resolve, reject) => {
    const { signal } = scope;
    const leave = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cancel);
    };
    const cancel = (): void => {
      leave();
      reject(canceled(bucket));
    };
    const timer = setTimeout(() => {
      leave();
      reject(unavailable({ bucket }, new Unanswered("deadline", true)));
    }, timeLeftMs(scope));
    signal.addEventListener("abort", cancel);
    void work.then(resolve, reject).finally(leave);
    if (signal.aborted) cancel();
  });
}

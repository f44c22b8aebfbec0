/** Waits for a step of opening a watch, no longer than the call lasts. */
import type { CallScope } from "../../kv/store.js";
import { unavailable } from "../client/errors.js";
import { whileInScope } from "../client/shared-work.js";
import { Unanswered } from "../client/unanswered.js";
import { canceled } from "./endings.js";

/** Settles as the work does. Rejects with a `KvError` if the scope ends first; the work goes on. */
export async function inTime<Result>(
  work: Promise<Result>,
  scope: CallScope,
  bucket: string,
): Promise<Result> {
  try {
    return await whileInScope(scope, work);
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    throw error.reason === "canceled" ? canceled(bucket) : unavailable({ bucket }, error);
  }
}

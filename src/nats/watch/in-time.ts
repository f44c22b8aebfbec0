/** Waits for a step of starting a watch, until the call ends. */
import type { CallContext } from "../../kv/call-context.js";
import { unavailable } from "../client/errors.js";
import { withinContext } from "../client/shared-work.js";
import { NoReplyError } from "../client/no-reply.js";
import { canceled } from "./endings.js";

/** Settles as the work does. Rejects with a `KvError` if the context ends first; the work continues. */
export async function inTime<Result>(
  work: Promise<Result>,
  context: CallContext,
  bucket: string,
): Promise<Result> {
  try {
    return await withinContext(context, work);
  } catch (error) {
    if (!(error instanceof NoReplyError)) throw error;
    throw error.reason === "canceled" ? canceled(bucket) : unavailable({ bucket }, error);
  }
}

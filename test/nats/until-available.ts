/** Repeats calls to a cluster that elects its leaders. */
import { KvError, type KvErrorKind } from "../../src/kv/errors.js";
import { tick } from "./watching.js";

const RETRIED: readonly KvErrorKind[] = ["unavailable", "deadline_exceeded"];

export interface UntilAvailableOptions {
  /** Errors of other kinds are thrown. Default: `unavailable` and `deadline_exceeded`. */
  readonly retry?: readonly KvErrorKind[];
  /** Ends the repetition, by throwing its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Repeats a call until a leader answers it. */
export async function untilAvailable<Result>(
  call: () => Promise<Result>,
  { retry = RETRIED, signal }: UntilAvailableOptions = {},
): Promise<Result> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof KvError) || !retry.includes(error.kind)) throw error;
      signal?.throwIfAborted();
      await tick(20);
    }
  }
}

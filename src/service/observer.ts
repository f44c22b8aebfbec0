/** What operators are shown of calls: the hooks of the pipeline and of the doors. `src/telemetry` fills them; without, nobody looks. */
import type { ConnectError } from "@connectrpc/connect";
import type { BoundMethod, CallInput, Door } from "./calls.js";
import type { Principal } from "./principal.js";

/** Sees every call that reaches the pipeline. Never throws. */
export interface CallObserver {
  /** A call begins, before it is known who calls. `startMs` is of `performance.now()`. */
  begin(method: BoundMethod, input: CallInput, startMs: number): CallRecord;
  /** Bytes of bodies that a door read from a client and wrote to it, as they were on the wire (compressed, framed). */
  transferred(method: BoundMethod, door: Door, receivedBytes: number, sentBytes: number): void;
  /** A fault of ours, with its cause: once per fault, before the call's `end`. */
  fault(error: unknown, method: BoundMethod, input: CallInput): void;
}

/** One call under observation. */
export interface CallRecord {
  /** Set once it is known. */
  caller: Principal | undefined;
  /** Runs the handler where its work is part of the call's trace; undefined: there is no trace. */
  readonly within: (<Result>(run: () => Result) => Result) | undefined;
  /** The call is over, a stream's with its last word: called once. `error` is as the client gets it; undefined: all went well. */
  end(error: ConnectError | undefined): void;
}

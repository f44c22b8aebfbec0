/** Observation hooks of the pipeline and the protocols. `src/telemetry` implements them; they are optional. */
import type { ConnectError } from "@connectrpc/connect";
import type { BoundMethod, CallInput, Protocol } from "./calls.js";
import type { Principal } from "./principal.js";

/** Observes every call that reaches the pipeline. Never throws. */
export interface CallObserver {
  /** A call begins, before authentication. `startMs`: the time of `performance.now()`. */
  begin(method: BoundMethod, input: CallInput, startMs: number): CallRecord;
  /** Body bytes received from and sent to a client, as on the wire: compressed and framed. */
  transferred(method: BoundMethod, protocol: Protocol, receivedBytes: number, sentBytes: number): void;
  /** An internal error, with its cause. Called once per error, before the call's `end`. */
  fault(error: unknown, method: BoundMethod, input: CallInput): void;
}

/** One call under observation. */
export interface CallRecord {
  /** Set after authentication. */
  caller: Principal | undefined;
  /** Runs the handler within the call's trace context; undefined: no trace. */
  readonly within: (<Result>(run: () => Result) => Result) | undefined;
  /** The call ended; for streams, after the last message. Called once. `error`: as sent to the client; undefined: success. */
  end(error: ConnectError | undefined): void;
}

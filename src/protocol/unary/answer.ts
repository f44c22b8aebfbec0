/** Unary responses before they are written: one factory per protocol, each equivalent to the stock adapter. */
import type { ConnectError } from "@connectrpc/connect";
import type { Fields } from "../rpc/fields.js";
import type { UnaryCall } from "./call.js";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Fields>;
  readonly body: Uint8Array | undefined;
  /** HTTP trailers; undefined: the protocol has none. */
  readonly trailers: Readonly<Fields> | undefined;
}

/** Creates one protocol's responses. Returns a promise only if something is compressed. */
export interface AnswerMaker {
  /** Free bytes before an encoded message. */
  readonly headBytes: number;
  /** `framed` is the encoded message after its free bytes; the answer takes ownership of it. */
  success(call: UnaryCall, framed: Buffer): Answer | Promise<Answer>;
  failure(call: UnaryCall, error: ConnectError): Answer | Promise<Answer>;
}

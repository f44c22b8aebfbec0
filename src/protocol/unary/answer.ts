/** What a call is answered with, before it is written to a stream: one maker for each protocol, each like the stock adapter's. */
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

/** How one protocol answers. A promise only where something is compressed. */
export interface AnswerMaker {
  /** The bytes that are kept free before an encoded message. */
  readonly headBytes: number;
  /** `framed` is the encoded message behind its free bytes; it is the answer's own from here on. */
  success(call: UnaryCall, framed: Buffer): Answer | Promise<Answer>;
  failure(call: UnaryCall, error: ConnectError): Answer | Promise<Answer>;
}

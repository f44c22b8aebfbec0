/** What a call is answered with, before it is written to a stream: one maker for each protocol, each like the stock adapter's. */
import type { ConnectError } from "@connectrpc/connect";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { UnaryCall } from "./call.js";

/** Header or trailer fields by lower-case name. Never changed once an answer has them: calls may share them. */
export type Fields = Record<string, string>;

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

/** Bodies smaller than this are not compressed: the library's default. */
export const COMPRESS_BYTES_MIN = 1_024;

export const compress: (bytes: Uint8Array) => Promise<Uint8Array> = promisify(gzip);

/** Adds the fields of a Headers object, in the place of those of the same name. */
export function addFields(fields: Fields, headers: Headers | undefined, prefix = ""): void {
  headers?.forEach((value, name) => {
    fields[prefix + name] = value;
  });
}

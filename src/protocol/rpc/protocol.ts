/** What differs between gRPC, gRPC-Web and Connect: how to recognise a request, and the form of its responses. */
import type { ConnectError } from "@connectrpc/connect";
import type { IncomingHttpHeaders } from "node:http";
import type { Fields } from "../exchange.js";
import type { RpcCall } from "./call.js";

/** A unary response. */
export interface UnaryAnswer {
  readonly status: number;
  readonly headers: Readonly<Fields>;
  readonly body: Uint8Array | undefined;
  /** HTTP trailers; undefined: the protocol has none. */
  readonly trailers: Readonly<Fields> | undefined;
}

/** How a response stream ends: with a last envelope in the body, or with HTTP trailers. */
export interface StreamEnd {
  readonly envelope: Buffer | undefined;
  readonly trailers: Readonly<Fields> | undefined;
}

/** The responses of one protocol, equivalent to the stock adapter's. Each returns a promise only if something is compressed. */
export interface RpcProtocol {
  /** Free bytes before an encoded unary message. */
  readonly headBytes: number;
  /** `framed` is the encoded message after its free bytes; the answer takes ownership of it. */
  success(call: RpcCall, framed: Buffer): UnaryAnswer | Promise<UnaryAnswer>;
  failure(call: RpcCall, error: ConnectError): UnaryAnswer | Promise<UnaryAnswer>;
  endStream(call: RpcCall, error: ConnectError | undefined): StreamEnd | Promise<StreamEnd>;
}

/** One protocol with one codec. */
export interface WireForm {
  readonly protocolName: "grpc" | "grpc-web" | "connect";
  readonly protocol: RpcProtocol;
  /** Protobuf's binary format; otherwise ProtoJSON. */
  readonly isBinary: boolean;
  /** The content type of responses. */
  readonly contentType: string;
  /** Whether messages are in envelopes; otherwise the body is the message. */
  readonly isEnveloped: boolean;
  /** The flag of the envelope that ends the stream; 0: the protocol has none. In a request, such an envelope is ignored. */
  readonly endFlag: number;
  readonly timeoutHeader: "grpc-timeout" | "connect-timeout-ms";
  /** Names the compression of messages. */
  readonly encodingHeader: "grpc-encoding" | "content-encoding" | "connect-content-encoding";
  /** Lists the compressions that the client accepts. */
  readonly acceptEncodingHeader: "grpc-accept-encoding" | "accept-encoding" | "connect-accept-encoding";
}

/** Forms by content type, in the spellings that clients send. The stock adapter handles equivalent ones (capitals, more parameters). */
export type FormsByContentType = readonly (readonly [contentType: string, form: WireForm])[];

/** Whether the request's body is uncompressed. */
export function isUncompressed(form: WireForm, headers: IncomingHttpHeaders): boolean {
  const encoding = headers[form.encodingHeader];
  return encoding === undefined || encoding === "identity";
}

/** Whether the client accepts gzip. Like the stock adapter, matches list items exactly, without parameters. */
export function acceptsGzip(form: WireForm, headers: IncomingHttpHeaders): boolean {
  const accepted = headers[form.acceptEncodingHeader];
  if (accepted === undefined || accepted === "identity") return false;
  if (accepted === "gzip") return true;
  return String(accepted)
    .split(",")
    .some((name) => name.trim() === "gzip");
}

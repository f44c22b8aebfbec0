/** How a stream ends in each protocol, as the stock adapter does it. */
import type { ConnectError } from "@connectrpc/connect";
import { endStreamToJson } from "@connectrpc/connect/protocol-connect";
import { compressedEnvelope } from "../rpc/compression.js";
import { END_STREAM_FLAG, TRAILER_FLAG, envelope } from "../rpc/envelope.js";
import type { Fields } from "../rpc/fields.js";
import { grpcTrailerBytes, grpcTrailers } from "../rpc/grpc-fields.js";
import type { WireForm } from "../rpc/wire-form.js";
import type { StreamingCall } from "./call.js";

/** An envelope that ends the body, or HTTP trailers. */
export type Ending = { readonly envelope: Buffer } | { readonly trailers: Readonly<Fields> };

/** Creates one protocol's stream ending. Returns a promise only if it is compressed. */
type EndingMaker = (call: StreamingCall, error: ConnectError | undefined) => Ending | Promise<Ending>;

export const ENDINGS: Readonly<Record<WireForm["door"], EndingMaker>> = {
  grpc: (call, error) => ({ trailers: grpcTrailers(call, error) }),
  "grpc-web": (call, error) => lastEnvelope(call, TRAILER_FLAG, grpcTrailerBytes(call, error)),
  // https://connectrpc.com/docs/protocol#error-end-stream
  connect(call, error) {
    const end = endStreamToJson(call.ownTrailers ?? new Headers(), error, call.jsonOptions);
    return lastEnvelope(call, END_STREAM_FLAG, Buffer.from(JSON.stringify(end)));
  },
};

function lastEnvelope(call: StreamingCall, flags: number, data: Uint8Array): Ending | Promise<Ending> {
  return call.acceptsGzip ? compressed(flags, data) : { envelope: envelope(flags, data) };
}

async function compressed(flags: number, data: Uint8Array): Promise<Ending> {
  return { envelope: await compressedEnvelope(flags, data) };
}

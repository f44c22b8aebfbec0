/** gRPC: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { Fields } from "./exchange.js";
import type { RpcCall } from "./rpc/call.js";
import { compressedEnvelope, isLong } from "./rpc/compression.js";
import { ENVELOPE_HEAD_BYTES, seal } from "./rpc/envelope.js";
import { addFields, envelopedHeaders } from "./rpc/fields.js";
import { correctGrpcMessage } from "./rpc/grpc-message.js";
import type { FormsByContentType, RpcProtocol, UnaryAnswer, WireForm } from "./rpc/protocol.js";

const STATUS_OK: Readonly<Fields> = Object.freeze({ "grpc-status": "0" });

const protocol: RpcProtocol = {
  headBytes: ENVELOPE_HEAD_BYTES,
  success(call, framed) {
    if (call.acceptsGzip) {
      const message = framed.subarray(ENVELOPE_HEAD_BYTES);
      if (isLong(message)) return compressed(call, message);
    }
    return answerOf(call, seal(framed, 0), trailersOf(call, undefined));
  },
  failure: (call, error) => answerOf(call, undefined, trailersOf(call, error)),
  endStream: (call, error) => ({ envelope: undefined, trailers: trailersOf(call, error) }),
};

export const GRPC_FORMS: FormsByContentType = [
  ["application/grpc", formOf("proto")],
  ["application/grpc+proto", formOf("proto")],
  ["application/grpc+json", formOf("json")],
];

/** The handler's trailers and the call's status. */
export function statusTrailers(call: RpcCall, error: ConnectError | undefined): Headers {
  return correctGrpcMessage(setTrailerStatus(new Headers(call.ownTrailers), error));
}

function formOf(codec: "proto" | "json"): WireForm {
  return {
    protocolName: "grpc",
    protocol,
    isBinary: codec === "proto",
    contentType: `application/grpc+${codec}`,
    isEnveloped: true,
    endFlag: 0,
    timeoutHeader: "grpc-timeout",
    encodingHeader: "grpc-encoding",
    acceptEncodingHeader: "grpc-accept-encoding",
  };
}

async function compressed(call: RpcCall, message: Uint8Array): Promise<UnaryAnswer> {
  return answerOf(call, await compressedEnvelope(0, message), trailersOf(call, undefined));
}

function answerOf(call: RpcCall, body: Uint8Array | undefined, trailers: Readonly<Fields>): UnaryAnswer {
  return { status: 200, headers: envelopedHeaders(call), body, trailers };
}

function trailersOf(call: RpcCall, error: ConnectError | undefined): Readonly<Fields> {
  if (error === undefined && call.ownTrailers === undefined) return STATUS_OK;
  const fields: Fields = {};
  addFields(fields, statusTrailers(call, error));
  return fields;
}

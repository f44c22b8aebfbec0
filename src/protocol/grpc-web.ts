/** gRPC-Web, whose trailers are the body's last envelope: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md */
import type { ConnectError } from "@connectrpc/connect";
import { trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { statusTrailers } from "./grpc.js";
import type { RpcCall } from "./rpc/call.js";
import { compressedEnvelope, decompress, isLong, lastEnvelope } from "./rpc/compression.js";
import { COMPRESSED_FLAG, ENVELOPE_HEAD_BYTES, TRAILER_FLAG, envelope, seal } from "./rpc/envelope.js";
import { envelopedHeaders } from "./rpc/fields.js";
import { correctGrpcMessage } from "./rpc/grpc-message.js";
import type { FormsByContentType, RpcProtocol, UnaryAnswer, WireForm } from "./rpc/protocol.js";

const STATUS_OK: Uint8Array = Buffer.from("grpc-status: 0\r\n");

const protocol: RpcProtocol = {
  headBytes: ENVELOPE_HEAD_BYTES,
  success(call, framed) {
    const message = framed.subarray(ENVELOPE_HEAD_BYTES);
    const trailers = trailersOf(call, undefined);
    if (call.acceptsGzip && (isLong(message) || isLong(trailers))) return compressed(call, message, trailers);
    // One buffer: one write.
    return answerOf(call, Buffer.concat([seal(framed, 0), envelope(TRAILER_FLAG, trailers)]));
  },
  failure(call, error) {
    const trailers = trailersOf(call, error);
    if (call.acceptsGzip && isLong(trailers)) return compressed(call, undefined, trailers);
    return answerOf(call, envelope(TRAILER_FLAG, trailers));
  },
  endStream: (call, error) => lastEnvelope(call.acceptsGzip, TRAILER_FLAG, trailersOf(call, error)),
};

export const GRPC_WEB_FORMS: FormsByContentType = [
  ["application/grpc-web", formOf("proto")],
  ["application/grpc-web+proto", formOf("proto")],
  ["application/grpc-web+json", formOf("json")],
];

/** Corrects `grpc-message` in a response of the Connect library. Each chunk of its body is one envelope. */
export async function* withCorrectTrailers(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const framed of body) {
    const flags = framed[0] ?? 0;
    if ((flags & TRAILER_FLAG) === 0) {
      yield framed;
      continue;
    }
    const data = framed.subarray(ENVELOPE_HEAD_BYTES);
    const isCompressed = (flags & COMPRESSED_FLAG) !== 0;
    const trailers = trailerParse(isCompressed ? await decompress(data) : data);
    const corrected = trailerSerialize(correctGrpcMessage(trailers));
    yield isCompressed
      ? await compressedEnvelope(TRAILER_FLAG, corrected)
      : envelope(TRAILER_FLAG, corrected);
  }
}

function formOf(codec: "proto" | "json"): WireForm {
  return {
    protocolName: "grpc-web",
    protocol,
    isBinary: codec === "proto",
    contentType: `application/grpc-web+${codec}`,
    isEnveloped: true,
    endFlag: TRAILER_FLAG,
    timeoutHeader: "grpc-timeout",
    encodingHeader: "grpc-encoding",
    acceptEncodingHeader: "grpc-accept-encoding",
  };
}

async function compressed(
  call: RpcCall,
  message: Uint8Array | undefined,
  trailers: Uint8Array,
): Promise<UnaryAnswer> {
  const parts = message === undefined ? [] : [await compressedEnvelope(0, message)];
  parts.push(await compressedEnvelope(TRAILER_FLAG, trailers));
  return answerOf(call, Buffer.concat(parts));
}

function answerOf(call: RpcCall, body: Uint8Array): UnaryAnswer {
  return { status: 200, headers: envelopedHeaders(call), body, trailers: undefined };
}

function trailersOf(call: RpcCall, error: ConnectError | undefined): Uint8Array {
  return error === undefined && call.ownTrailers === undefined
    ? STATUS_OK
    : trailerSerialize(statusTrailers(call, error));
}

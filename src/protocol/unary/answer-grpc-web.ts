/** Answers of gRPC-Web: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md; the trailers are the body's last envelope. */
import type { ConnectError } from "@connectrpc/connect";
import { trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { type Answer, type AnswerMaker, COMPRESS_BYTES_MIN, compress } from "./answer.js";
import { grpcHeaders, statusTrailers } from "./answer-grpc.js";
import type { UnaryCall } from "./call.js";
import { COMPRESSED_FLAG, ENVELOPE_HEAD_BYTES, TRAILER_FLAG, envelope, seal } from "./envelope.js";

const STATUS_OK: Uint8Array = Buffer.from("grpc-status: 0\r\n");

export const grpcWebAnswers: AnswerMaker = {
  headBytes: ENVELOPE_HEAD_BYTES,
  success(call, framed) {
    const message = framed.subarray(ENVELOPE_HEAD_BYTES);
    const trailers = trailersOf(call);
    if (call.acceptsGzip && (isLong(message) || isLong(trailers))) return compressed(call, message, trailers);
    // In one buffer, so that they go out in one write.
    return answerOf(call, Buffer.concat([seal(framed, 0), envelope(TRAILER_FLAG, trailers)]));
  },
  failure(call, error) {
    const trailers = trailersOf(call, error);
    if (call.acceptsGzip && isLong(trailers)) return compressed(call, undefined, trailers);
    return answerOf(call, envelope(TRAILER_FLAG, trailers));
  },
};

async function compressed(
  call: UnaryCall,
  message: Uint8Array | undefined,
  trailers: Uint8Array,
): Promise<Answer> {
  const parts = message === undefined ? [] : [await compressedEnvelope(0, message)];
  parts.push(await compressedEnvelope(TRAILER_FLAG, trailers));
  return answerOf(call, Buffer.concat(parts));
}

async function compressedEnvelope(flags: number, data: Uint8Array): Promise<Buffer> {
  return isLong(data) ? envelope(flags | COMPRESSED_FLAG, await compress(data)) : envelope(flags, data);
}

function answerOf(call: UnaryCall, body: Uint8Array): Answer {
  return { status: 200, headers: grpcHeaders(call), body, trailers: undefined };
}

function isLong(data: Uint8Array): boolean {
  return data.length >= COMPRESS_BYTES_MIN;
}

function trailersOf(call: UnaryCall, error?: ConnectError): Uint8Array {
  return error === undefined && call.ownTrailers === undefined
    ? STATUS_OK
    : trailerSerialize(statusTrailers(call, error));
}

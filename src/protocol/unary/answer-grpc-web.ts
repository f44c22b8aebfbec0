/** Responses of the gRPC-Web protocol. */
import { compressedEnvelope, isLong } from "../rpc/compression.js";
import { ENVELOPE_HEAD_BYTES, TRAILER_FLAG, envelope, seal } from "../rpc/envelope.js";
import { envelopedHeaders } from "../rpc/fields.js";
import { grpcTrailerBytes } from "../rpc/grpc-fields.js";
import type { Answer, AnswerMaker } from "./answer.js";
import type { UnaryCall } from "./call.js";

export const grpcWebAnswers: AnswerMaker = {
  headBytes: ENVELOPE_HEAD_BYTES,
  success(call, framed) {
    const message = framed.subarray(ENVELOPE_HEAD_BYTES);
    const trailers = grpcTrailerBytes(call, undefined);
    if (call.acceptsGzip && (isLong(message) || isLong(trailers))) return compressed(call, message, trailers);
    // One buffer: one write.
    return answerOf(call, Buffer.concat([seal(framed, 0), envelope(TRAILER_FLAG, trailers)]));
  },
  failure(call, error) {
    const trailers = grpcTrailerBytes(call, error);
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

function answerOf(call: UnaryCall, body: Uint8Array): Answer {
  return { status: 200, headers: envelopedHeaders(call), body, trailers: undefined };
}

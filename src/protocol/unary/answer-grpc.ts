/** Responses of the gRPC protocol. */
import { compressedEnvelope, isLong } from "../rpc/compression.js";
import { ENVELOPE_HEAD_BYTES, seal } from "../rpc/envelope.js";
import { type Fields, envelopedHeaders } from "../rpc/fields.js";
import { grpcTrailers } from "../rpc/grpc-fields.js";
import type { Answer, AnswerMaker } from "./answer.js";
import type { UnaryCall } from "./call.js";

export const grpcAnswers: AnswerMaker = {
  headBytes: ENVELOPE_HEAD_BYTES,
  success(call, framed) {
    if (call.acceptsGzip) {
      const message = framed.subarray(ENVELOPE_HEAD_BYTES);
      if (isLong(message)) return compressed(call, message);
    }
    return answerOf(call, seal(framed, 0), grpcTrailers(call, undefined));
  },
  failure: (call, error) => answerOf(call, undefined, grpcTrailers(call, error)),
};

async function compressed(call: UnaryCall, message: Uint8Array): Promise<Answer> {
  return answerOf(call, await compressedEnvelope(0, message), grpcTrailers(call, undefined));
}

function answerOf(call: UnaryCall, body: Uint8Array | undefined, trailers: Readonly<Fields>): Answer {
  return { status: 200, headers: envelopedHeaders(call), body, trailers };
}

/** Responses of Connect's unary protocol: https://connectrpc.com/docs/protocol#unary-response */
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { compress, isLong } from "../rpc/compression.js";
import { type Fields, addFields } from "../rpc/fields.js";
import type { Answer, AnswerMaker } from "./answer.js";
import type { UnaryCall } from "./call.js";

export const connectAnswers: AnswerMaker = {
  headBytes: 0,
  success(call, message) {
    const headers: Fields = { "content-type": call.form.contentType };
    call.addOwnHeaders(headers);
    return answerOf(call, 200, headers, message);
  },
  failure(call, error) {
    const headers: Fields = {};
    call.addOwnHeaders(headers);
    headers["content-type"] = "application/json";
    addFields(headers, error.metadata);
    return answerOf(call, codeToHttpStatus(error.code), headers, errorToJsonBytes(error, call.jsonOptions));
  },
};

function answerOf(
  call: UnaryCall,
  status: number,
  headers: Fields,
  body: Uint8Array,
): Answer | Promise<Answer> {
  addFields(headers, call.ownTrailers, "trailer-");
  if (call.acceptsGzip && isLong(body)) return compressed(status, headers, body);
  headers["content-length"] = String(body.length);
  return { status, headers, body, trailers: undefined };
}

async function compressed(status: number, headers: Fields, body: Uint8Array): Promise<Answer> {
  const bytes = await compress(body);
  headers["content-encoding"] = "gzip";
  headers["content-length"] = String(bytes.length);
  return { status, headers, body: bytes, trailers: undefined };
}

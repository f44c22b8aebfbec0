/** Answers of the gRPC protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Responses". */
import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import {
  type Answer,
  type AnswerMaker,
  COMPRESS_BYTES_MIN,
  type Fields,
  addFields,
  compress,
} from "./answer.js";
import type { UnaryCall } from "./call.js";
import { COMPRESSED_FLAG, ENVELOPE_HEAD_BYTES, envelope, seal } from "./envelope.js";

const STATUS_OK: Readonly<Fields> = Object.freeze({ "grpc-status": "0" });

export const grpcAnswers: AnswerMaker = {
  headBytes: ENVELOPE_HEAD_BYTES,
  success(call, framed) {
    if (call.acceptsGzip && framed.length >= ENVELOPE_HEAD_BYTES + COMPRESS_BYTES_MIN) {
      return compressed(call, framed.subarray(ENVELOPE_HEAD_BYTES));
    }
    return answerOf(call, seal(framed, 0), trailersOf(call));
  },
  failure: (call, error) => answerOf(call, undefined, trailersOf(call, error)),
};

async function compressed(call: UnaryCall, message: Uint8Array): Promise<Answer> {
  return answerOf(call, envelope(COMPRESSED_FLAG, await compress(message)), trailersOf(call));
}

function answerOf(call: UnaryCall, body: Uint8Array | undefined, trailers: Readonly<Fields>): Answer {
  return { status: 200, headers: grpcHeaders(call), body, trailers };
}

/** The headers of gRPC and gRPC-Web: the encoding is named where it may be used, not only where it was. */
export function grpcHeaders(call: UnaryCall): Fields {
  const fields: Fields = { "content-type": call.form.contentType };
  if (call.acceptsGzip) fields["grpc-encoding"] = "gzip";
  call.addOwnHeaders(fields);
  return fields;
}

function trailersOf(call: UnaryCall, error?: ConnectError): Readonly<Fields> {
  if (error === undefined && call.ownTrailers === undefined) return STATUS_OK;
  const fields: Fields = {};
  addFields(fields, statusTrailers(call, error));
  return fields;
}

/** The handler's trailers with the status of the call. */
export function statusTrailers(call: UnaryCall, error: ConnectError | undefined): Headers {
  return setTrailerStatus(new Headers(call.ownTrailers), error);
}

/**
 * The trailers of gRPC and gRPC-Web: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Responses", and
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md, where the trailers are the body's last envelope.
 */
import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import type { RpcCall } from "./call.js";
import { type Fields, addFields } from "./fields.js";

const STATUS_OK: Readonly<Fields> = Object.freeze({ "grpc-status": "0" });
const STATUS_OK_BYTES: Uint8Array = Buffer.from("grpc-status: 0\r\n");

/** The handler's trailers and the call's status, as HTTP trailers. */
export function grpcTrailers(call: RpcCall, error: ConnectError | undefined): Readonly<Fields> {
  if (error === undefined && call.ownTrailers === undefined) return STATUS_OK;
  const fields: Fields = {};
  addFields(fields, statusTrailers(call, error));
  return fields;
}

/** As {@link grpcTrailers}, serialised for an envelope. */
export function grpcTrailerBytes(call: RpcCall, error: ConnectError | undefined): Uint8Array {
  return error === undefined && call.ownTrailers === undefined
    ? STATUS_OK_BYTES
    : trailerSerialize(statusTrailers(call, error));
}

function statusTrailers(call: RpcCall, error: ConnectError | undefined): Headers {
  return setTrailerStatus(new Headers(call.ownTrailers), error);
}

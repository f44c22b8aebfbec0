/**
 * The percent-encoding of `grpc-message`: only `%` and bytes outside of 0x20-0x7E are encoded
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Responses"). `encodeURIComponent` alone would also encode characters such
 * as `:`, which clients that follow the specification show undecoded.
 */
export function encodeGrpcMessage(message: string): string {
  return message.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
}

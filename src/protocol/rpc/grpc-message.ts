/** `grpc-message`: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Responses". */

/**
 * Percent-encodes only `%` and bytes outside of 0x20-0x7E, as the specification says. `encodeURIComponent` alone would also encode characters
 * such as `:`, which clients that follow the specification show undecoded.
 */
export function encodeGrpcMessage(message: string): string {
  return message.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
}

/** Corrects the encoding in trailers of the Connect library, which encodes more than the specification says. Returns the same object. */
export function correctGrpcMessage(trailers: Headers): Headers {
  const message = trailers.get("grpc-message");
  if (message !== null) trailers.set("grpc-message", encodeGrpcMessage(decodeURIComponent(message)));
  return trailers;
}

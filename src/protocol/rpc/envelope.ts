/** The envelope of each message in gRPC, gRPC-Web and Connect streams: one byte of flags, four bytes of length. */

export const ENVELOPE_HEAD_BYTES = 5;
export const COMPRESSED_FLAG = 0b1;
/** gRPC-Web: the envelope holds trailers. */
export const TRAILER_FLAG = 0b1000_0000;
/** Connect: the last envelope of the stream, with its outcome. */
export const END_STREAM_FLAG = 0b10;

/** Fills the envelope head into the free bytes before a message. */
export function seal(framed: Buffer, flags: number): Buffer {
  framed[0] = flags;
  framed.writeUInt32BE(framed.length - ENVELOPE_HEAD_BYTES, 1);
  return framed;
}

/** A message in its envelope. */
export function envelope(flags: number, data: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(ENVELOPE_HEAD_BYTES + data.length);
  framed.set(data, ENVELOPE_HEAD_BYTES);
  return seal(framed, flags);
}

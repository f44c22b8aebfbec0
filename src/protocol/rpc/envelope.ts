/** The frame around each message of gRPC, gRPC-Web and Connect streams: a byte of flags, four of length. */

export const ENVELOPE_HEAD_BYTES = 5;
export const COMPRESSED_FLAG = 0b1;
/** gRPC-Web: the envelope holds trailers. */
export const TRAILER_FLAG = 0b1000_0000;
/** Connect: the envelope is the stream's last, and holds its outcome. */
export const END_STREAM_FLAG = 0b10;

/** Makes an envelope of a message that has room for the head before it. */
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

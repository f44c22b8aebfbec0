/** The frame around each message of gRPC and gRPC-Web: a byte of flags, four of length. */

export const ENVELOPE_HEAD_BYTES = 5;
export const COMPRESSED_FLAG = 0b1;
/** gRPC-Web: the envelope holds trailers. */
export const TRAILER_FLAG = 0b1000_0000;

/** Writes an envelope into a buffer; returns the offset after it. */
export function writeEnvelope(target: Buffer, offset: number, flags: number, data: Uint8Array): number {
  target[offset] = flags;
  target.writeUInt32BE(data.length, offset + 1);
  target.set(data, offset + ENVELOPE_HEAD_BYTES);
  return offset + ENVELOPE_HEAD_BYTES + data.length;
}

/** A message in its envelope. */
export function envelope(flags: number, data: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(ENVELOPE_HEAD_BYTES + data.length);
  writeEnvelope(bytes, 0, flags, data);
  return bytes;
}

/** Compresses responses for clients that accept gzip, by the stock adapter's rules. */
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { COMPRESSED_FLAG, envelope } from "./envelope.js";
import type { StreamEnd } from "./protocol.js";

/** Smaller messages are not compressed: the library's default. */
const COMPRESS_BYTES_MIN = 1_024;

/** Whether the data is long enough to compress. */
export function isLong(data: Uint8Array): boolean {
  return data.length >= COMPRESS_BYTES_MIN;
}

export const compress: (bytes: Uint8Array) => Promise<Uint8Array> = promisify(gzip);

export const decompress: (bytes: Uint8Array) => Promise<Uint8Array> = promisify(gunzip);

/** A message in its envelope, compressed if it is long enough. */
export async function compressedEnvelope(flags: number, data: Uint8Array): Promise<Buffer> {
  return isLong(data) ? envelope(flags | COMPRESSED_FLAG, await compress(data)) : envelope(flags, data);
}

/** The envelope that ends a response stream. Returns a promise only if it may be compressed. */
export function lastEnvelope(
  acceptsGzip: boolean,
  flags: number,
  data: Uint8Array,
): StreamEnd | Promise<StreamEnd> {
  return acceptsGzip ? compressedEnvelope(flags, data).then(endOf) : endOf(envelope(flags, data));
}

function endOf(last: Buffer): StreamEnd {
  return { envelope: last, trailers: undefined };
}

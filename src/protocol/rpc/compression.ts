/** Compressing answers, as the stock adapter does for clients that take gzip. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { COMPRESSED_FLAG, envelope } from "./envelope.js";

/** What is smaller is not compressed: the library's default. */
const COMPRESS_BYTES_MIN = 1_024;

/** Whether it is worth compressing. */
export function isLong(data: Uint8Array): boolean {
  return data.length >= COMPRESS_BYTES_MIN;
}

export const compress: (bytes: Uint8Array) => Promise<Uint8Array> = promisify(gzip);

/** A message in its envelope, compressed where that is worth it. */
export async function compressedEnvelope(flags: number, data: Uint8Array): Promise<Buffer> {
  return isLong(data) ? envelope(flags | COMPRESSED_FLAG, await compress(data)) : envelope(flags, data);
}

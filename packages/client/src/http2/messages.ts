/** Decodes messages, and compresses and decompresses them where that was asked for. */
import { promisify } from "node:util";
import { gunzip, gunzipSync, gzip } from "node:zlib";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { decodeMessage } from "../binary/decoder.js";
import { ResponseTooLargeError } from "../transport-errors.js";

/** Smaller messages are not compressed. */
const COMPRESS_BYTES_MIN = 1_024;

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

export function decode<Desc extends DescMessage>(desc: Desc, bytes: Buffer): MessageShape<Desc> {
  try {
    return decodeMessage(desc, bytes);
  } catch (error) {
    throw new ConnectError(`The response is malformed: ${messageOf(error)}`, Code.Internal);
  }
}

export function isWorthCompressing(bytes: Uint8Array): boolean {
  return bytes.length >= COMPRESS_BYTES_MIN;
}

export async function compress(bytes: Uint8Array): Promise<Uint8Array> {
  return await gzipAsync(bytes);
}

/** Decompresses a unary response. */
export async function decompress(bytes: Buffer, bytesMax: number): Promise<Buffer> {
  try {
    return await gunzipAsync(bytes, { maxOutputLength: bytesMax });
  } catch (error) {
    throw decompressionError(error, bytesMax);
  }
}

/** Decompresses a message of a stream: synchronously, as messages must stay in order. */
export function decompressMessage(bytes: Buffer, bytesMax: number): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: bytesMax });
  } catch (error) {
    throw decompressionError(error, bytesMax);
  }
}

export function responseTooLarge(bytesMax: number): ConnectError {
  const cause = new ResponseTooLargeError(
    `The response is larger than ${bytesMax} bytes; raise responseBytesMax, or ask for less.`,
  );
  return new ConnectError(cause.message, Code.ResourceExhausted, undefined, undefined, cause);
}

function decompressionError(error: unknown, bytesMax: number): ConnectError {
  if ((error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") return responseTooLarge(bytesMax);
  return new ConnectError(`The response can't be decompressed: ${messageOf(error)}`, Code.Internal);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

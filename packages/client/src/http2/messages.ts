/** Messages to bytes and back, compressed where that was asked for. */
import { promisify } from "node:util";
import { gunzip, gunzipSync, gzip } from "node:zlib";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ResponseTooLargeError } from "../transport-errors.js";

/** Smaller messages are not compressed. */
const COMPRESS_BYTES_MIN = 1_024;

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

export function encode<Desc extends DescMessage>(desc: Desc, message: MessageInitShape<Desc>): Uint8Array {
  return toBinary(desc, create(desc, message));
}

export function decode<Desc extends DescMessage>(desc: Desc, bytes: Uint8Array): MessageShape<Desc> {
  try {
    return fromBinary(desc, bytes);
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
export async function decompress(bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  try {
    return plain(await gunzipAsync(bytes, { maxOutputLength: bytesMax }));
  } catch (error) {
    throw decompressionError(error, bytesMax);
  }
}

/** Decompresses a message of a stream: synchronously, as messages must stay in order. */
export function decompressMessage(bytes: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return plain(gunzipSync(bytes, { maxOutputLength: bytesMax }));
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

/** As Uint8Array, not Buffer: values of messages are parts of it. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

function decompressionError(error: unknown, bytesMax: number): ConnectError {
  if ((error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") return responseTooLarge(bytesMax);
  return new ConnectError(`The response can't be decompressed: ${messageOf(error)}`, Code.Internal);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The source of a backup: a file or standard input. Detects gzip by the first bytes, not by the file name. */
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createGunzip } from "node:zlib";
import { BackupError } from "./format.js";

const READ_BYTES = 256 * 1_024;
/** RFC 1952, section 2.3.1. */
const GZIP_MAGIC = Buffer.of(0x1f, 0x8b);

export interface SourceOptions {
  /** Decompress as much as possible of a truncated gzip file. Default: fail. */
  readonly isTolerant?: boolean;
  /** Called with the bytes read, before decompression. */
  readonly onBytes?: (count: number) => void;
}

/** The bytes of a backup in a file, decompressed. */
export function readBackupFile(path: string, options: SourceOptions = {}): AsyncGenerator<Uint8Array> {
  return readBackup(createReadStream(path, { highWaterMark: READ_BYTES }), options);
}

/** The bytes of a backup, decompressed. Throws BackupError if decompression fails. */
export async function* readBackup(
  input: AsyncIterable<Uint8Array>,
  options: SourceOptions = {},
): AsyncGenerator<Uint8Array> {
  const { start, all } = await peek(counted(input, options.onBytes), GZIP_MAGIC.length);
  if (start.equals(GZIP_MAGIC.subarray(0, 1)))
    throw new BackupError("truncated", "The compressed file is truncated.");
  if (!start.subarray(0, GZIP_MAGIC.length).equals(GZIP_MAGIC)) {
    yield* all;
    return;
  }
  const gunzip = createGunzip({
    chunkSize: READ_BYTES,
    ...(options.isTolerant === true ? { finishFlush: constants.Z_SYNC_FLUSH } : {}),
  });
  // Errors surface in the loop below.
  pipeline(Readable.from(all), gunzip).catch(() => undefined);
  try {
    for await (const chunk of gunzip) yield chunk as Buffer;
  } catch (error) {
    throw gzipProblem(error);
  }
}

function gzipProblem(error: unknown): unknown {
  const { code } = error as { code?: unknown };
  if (code === "Z_BUF_ERROR") {
    return new BackupError("truncated", "The compressed file is truncated.", { cause: error });
  }
  if (typeof code === "string" && code.startsWith("Z_")) {
    return new BackupError("damaged", "The compressed file is damaged.", { cause: error });
  }
  return error;
}

async function* counted(
  input: AsyncIterable<Uint8Array>,
  onBytes: ((count: number) => void) | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of input) {
    onBytes?.(chunk.length);
    yield chunk;
  }
}

/** Reads the first bytes without consuming them. */
async function peek(
  input: AsyncGenerator<Uint8Array>,
  count: number,
): Promise<{ start: Buffer; all: AsyncGenerator<Uint8Array> }> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < count) {
    const result = await input.next();
    if (result.done === true) break;
    chunks.push(result.value);
    bytes += result.value.length;
  }
  const start = Buffer.concat(chunks);
  const all = async function* (): AsyncGenerator<Uint8Array> {
    yield start;
    yield* input;
  };
  return { start, all: all() };
}

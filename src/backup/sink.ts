/**
 * The destination of a backup. A file is written as `<file>.partial`, and renamed when it is complete and on disk. So a file with the final
 * name is complete, and an interrupted export can be resumed.
 */
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { open, rename, rm, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import type { Writable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { BackupError, FIRST_LINE } from "./format.js";
import { Ledger } from "./ledger.js";
import { readFrames } from "./reader.js";
import { readBackupFile } from "./source.js";

export interface BackupSink {
  write(bytes: Uint8Array): Promise<void>;
  /** Completes the backup. Resolves when it is on disk under its final name. */
  commit(): Promise<void>;
  /** Keeps the incomplete backup, so the export can be resumed. */
  suspend(): Promise<void>;
}

/** A sink, and the ledger of the records that it already has. */
export interface OpenSink {
  readonly sink: BackupSink;
  readonly ledger: Ledger;
}

export function partialName(file: string): string {
  return `${file}.partial`;
}

/** Creates the partial file; replaces that of an earlier export. */
export async function createFile(file: string, isCompressed: boolean): Promise<OpenSink> {
  const sink = new FileSink(file, partialName(file), isCompressed, 0);
  await sink.write(FIRST_LINE);
  return { sink, ledger: new Ledger() };
}

/**
 * Resumes an interrupted export after its last complete record. Throws BackupError if the partial file is not a valid backup.
 */
export async function resumeFile(file: string, isCompressed: boolean): Promise<OpenSink> {
  const ledger = new Ledger();
  const partial = partialName(file);
  // A truncated gzip stream can't be appended to: copy its intact records.
  const sink = isCompressed ? new FileSink(file, `${partial}.next`, true, 0) : undefined;
  await sink?.write(FIRST_LINE);
  try {
    for await (const frame of readFrames(readBackupFile(partial, { isTolerant: true }), ledger)) {
      await sink?.write(frame.bytes);
    }
  } catch (error) {
    const isResumable =
      error instanceof BackupError && (error.problem === "truncated" || error.problem === "damaged");
    if (!isResumable) {
      await sink?.discard();
      throw error;
    }
  }
  if (sink !== undefined) return { sink, ledger };
  if (ledger.header === undefined) return await createFile(file, false);
  await truncate(partial, ledger.bytes);
  return { sink: new FileSink(file, partial, false, ledger.bytes), ledger };
}

/** Writes to a stream with backpressure, compressed or not. */
class StreamWriter {
  private readonly head: Writable;
  private readonly done: Promise<void>;

  constructor(output: Writable, isCompressed: boolean) {
    const gzip = isCompressed ? createGzip() : undefined;
    this.head = gzip ?? output;
    this.done = gzip === undefined ? finished(output) : pipeline(gzip, output);
    // The next write() or end() rethrows it.
    this.done.catch(() => undefined);
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.head.destroyed) await this.done;
    if (!this.head.write(bytes)) await Promise.race([once(this.head, "drain"), this.done]);
  }

  async end(): Promise<void> {
    this.head.end();
    await this.done;
  }

  async destroy(): Promise<void> {
    this.head.destroy();
    await this.done.catch(() => undefined);
  }
}

/** A sink that can't be resumed, such as standard output. */
export class StreamSink implements BackupSink {
  private readonly writer: StreamWriter;

  constructor(output: Writable, isCompressed: boolean) {
    this.writer = new StreamWriter(output, isCompressed);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.writer.write(bytes);
  }

  commit(): Promise<void> {
    return this.writer.end();
  }

  suspend(): Promise<void> {
    return this.writer.destroy();
  }
}

class FileSink implements BackupSink {
  private readonly writer: StreamWriter;

  constructor(
    private readonly file: string,
    /** The path until the file is complete. */
    private readonly path: string,
    isCompressed: boolean,
    start: number,
  ) {
    const output = createWriteStream(path, { flags: start > 0 ? "r+" : "w", start, flush: true });
    this.writer = new StreamWriter(output, isCompressed);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.writer.write(bytes);
  }

  async commit(): Promise<void> {
    await this.writer.end();
    await rename(this.path, this.file);
    await rm(partialName(this.file), { force: true });
    await syncDirectory(dirname(this.file));
  }

  async suspend(): Promise<void> {
    await this.writer.end();
    if (this.path !== partialName(this.file)) await rename(this.path, partialName(this.file));
  }

  async discard(): Promise<void> {
    await this.writer.destroy();
    await rm(this.path, { force: true });
  }
}

/** Syncs the directory, which makes a rename in it durable. */
async function syncDirectory(path: string): Promise<void> {
  // Windows can't sync directories; NTFS journals names.
  if (process.platform === "win32") return;
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

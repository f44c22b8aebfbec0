/**
 * A write or sync that failed below the embedded nats-server: the disk is full, or reports an error.
 *
 * nats-server 2.15 then takes no further write for that stream until it is restarted, and never answers the failed one; the log is the only
 * place where it says so at once (`fileStore.setWriteErr` and `stream.setWriteErrLocked` in its source). It must be restarted, but not
 * blindly. After a failed fsync the kernel marks the pages clean (PostgreSQL's "fsyncgate"): a restarted server would read, and build on,
 * what is not on disk. So everything that changed lately is written over with itself and synced, before a server reads it again.
 */
import type { Dirent } from "node:fs";
import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A failed write, as the log reported it. */
export interface WriteFault {
  /** The operating system's words, such as `no space left on device`. */
  readonly reason: string;
  /** Whether there was no room. Otherwise the disk is broken, away or read-only. */
  readonly isFull: boolean;
}

const FAULT_LINES = [
  /[Cc]ritical write error: (.*)$/,
  /JetStream failed to store a msg on stream .*?: (.*)$/,
  /JetStream out of .*(resources|space), will be DISABLED/,
  /[Ff]ile ?system permission denied/,
];
const FULL_TEXT = /no space left|disk quota exceeded|out of .*(resources|space)/i;

/** The fault that a line of nats-server's log reports; undefined for any other line. */
export function writeFaultOf(line: string): WriteFault | undefined {
  for (const pattern of FAULT_LINES) {
    const found = pattern.exec(line);
    if (found !== null) return { reason: found[1] ?? found[0], isFull: FULL_TEXT.test(line) };
  }
  return undefined;
}

/** How long a disk may take to report a failed sync, in milliseconds: Linux gives a SCSI command up to 5 tries of 30 s. */
const REPORT_DELAY_MS_MAX = 5 * 60_000;
/** How far a file's time may lag behind the clock: the kernel takes it from its last tick. */
const CLOCK_TICK_MS = 1_000;
const COPY_BYTES = 1_048_576;
/** What must fit for the disk to count as answering. */
const PROBE_BYTES = 1_048_576;
const RETRY_MS = 500;
const PROBE_FILE = "disk-probe.tmp";

export interface DiskRecovery {
  /** The server's store; no server runs on it. */
  readonly folder: string;
  /** When the failed server was started, in milliseconds since 1970. */
  readonly serverStartMs: number;
  /** Whether new files must fit too. Without it, a full disk will do: reads are served from it. */
  readonly needsRoom: boolean;
  readonly signal: AbortSignal;
  /** Told why the disk does not answer yet, when that changes. */
  readonly onWaiting: (reason: string) => void;
}

/** Resolves when the disk takes writes, and all that the server may have written is on it. Rejects when the signal aborts. */
export async function untilDiskAnswers(recovery: DiskRecovery): Promise<void> {
  const { folder, serverStartMs, needsRoom, signal, onWaiting } = recovery;
  const sinceMs = Math.max(serverStartMs, Date.now() - REPORT_DELAY_MS_MAX) - CLOCK_TICK_MS;
  for (let told = ""; ;) {
    signal.throwIfAborted();
    try {
      await writeAgain(folder, sinceMs);
      if (needsRoom) await probe(join(folder, PROBE_FILE));
      return;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== told) onWaiting(reason);
      told = reason;
    }
    await delay(RETRY_MS, undefined, { signal });
  }
}

/** Writes each file below the folder that changed since then over with itself, and syncs it and its folder. */
async function writeAgain(folder: string, sinceMs: number): Promise<void> {
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await writeAgain(path, sinceMs);
    else if (entry.isFile() && (await stat(path)).mtimeMs >= sinceMs) await rewrite(path);
  }
  await syncFolder(folder);
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    // The server failed before it made its first file.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function rewrite(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    const buffer = Buffer.alloc(COPY_BYTES);
    for (let position = 0; ;) {
      const { bytesRead } = await file.read(buffer, 0, COPY_BYTES, position);
      if (bytesRead === 0) break;
      await writeAll(file, buffer.subarray(0, bytesRead), position);
      position += bytesRead;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Puts names on disk: of files that were made, renamed or removed. */
async function syncFolder(folder: string): Promise<void> {
  // Windows has no such call, and keeps names without it.
  if (process.platform === "win32") return;
  let handle: FileHandle;
  try {
    handle = await open(folder, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await handle.sync().finally(() => handle.close());
}

async function probe(path: string): Promise<void> {
  try {
    const file = await open(path, "w", 0o600);
    try {
      await writeAll(file, Buffer.alloc(PROBE_BYTES), 0);
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(path, { force: true });
  }
}

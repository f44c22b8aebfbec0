/**
 * Failed disk writes and syncs of the embedded nats-server: the disk is full, or reports an error.
 *
 * After one, nats-server 2.15 accepts no further writes to that stream until it is restarted, and never replies to the failed one. Only its
 * log reports this at once (`fileStore.setWriteErr` and `stream.setWriteErrLocked` in its source). Restarting it is not enough: after a
 * failed fsync the kernel marks the pages as clean (PostgreSQL's "fsyncgate"), so the new process would read and build on data that is not
 * on disk. Therefore every recently changed file is overwritten with its own content and synced before a server reads it.
 */
import type { Dirent } from "node:fs";
import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A failed write, from the server's log. */
export interface WriteFault {
  /** The operating system's message, such as `no space left on device`. */
  readonly reason: string;
  /** Whether the disk is full. Otherwise it is broken, missing or read-only. */
  readonly isFull: boolean;
  /** For operators. */
  readonly sentence: string;
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
    if (found !== null) return faultOf(found[1] ?? found[0], line);
  }
  return undefined;
}

function faultOf(reason: string, text: string): WriteFault {
  const isFull = FULL_TEXT.test(text);
  const fault = isFull ? "The disk is full" : "The disk failed a write or sync";
  return {
    reason,
    isFull,
    sentence: `${fault}: ${reason}. No write is acknowledged until the disk recovers.`,
  };
}

/** How long a disk may take to report a failed sync: Linux retries a SCSI command up to 5 times, with a timeout of 30 s. */
const REPORT_DELAY_MS_MAX = 5 * 60_000;
/** How far a file's modification time may lag behind the clock: the kernel uses the time of its last tick. */
const CLOCK_TICK_MS = 1_000;
const COPY_BYTES = 1_048_576;
/** The size of the file that must fit on the disk. */
const PROBE_BYTES = 1_048_576;
const RETRY_MS = 500;
const PROBE_FILE = "disk-probe.tmp";

export interface DiskRecovery {
  /** The server's store. No server is running on it. */
  readonly folder: string;
  /** When the failed server was started, in milliseconds since 1970. */
  readonly serverStartMs: number;
  /** Whether the disk must also have space for new files. Otherwise a full disk is enough, to serve reads. */
  readonly needsRoom: boolean;
  readonly signal: AbortSignal;
  /** Called with the reason for waiting, whenever it changes. */
  readonly onWaiting: (reason: string) => void;
}

/** Resolves when the disk accepts writes and has everything that the server may have written. Rejects when the signal aborts. */
export async function untilDiskAnswers(recovery: DiskRecovery): Promise<void> {
  const { folder, serverStartMs, needsRoom, signal, onWaiting } = recovery;
  const sinceMs = Math.max(serverStartMs, Date.now() - REPORT_DELAY_MS_MAX) - CLOCK_TICK_MS;
  for (let lastReason = ""; ;) {
    signal.throwIfAborted();
    try {
      await rewriteFolder(folder, sinceMs);
      if (needsRoom) await probe(join(folder, PROBE_FILE));
      return;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== lastReason) onWaiting(reason);
      lastReason = reason;
    }
    await delay(RETRY_MS, undefined, { signal });
  }
}

/**
 * Why a disk accepts no new file now; undefined: it does, or the folder is missing, which no waiting mends. A server can't start without a new
 * file.
 */
export async function newFileFault(folder: string): Promise<WriteFault | undefined> {
  try {
    await probe(join(folder, PROBE_FILE));
    return undefined;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    const reason = error instanceof Error ? error.message : String(error);
    return faultOf(reason, reason);
  }
}

/** Overwrites each file below the folder that changed since then with its own content, and syncs it and its folder. */
async function rewriteFolder(folder: string, sinceMs: number): Promise<void> {
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await rewriteFolder(path, sinceMs);
    else if (entry.isFile() && (await stat(path)).mtimeMs >= sinceMs) await rewriteFile(path);
  }
  await syncFolder(folder);
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    // The server failed before it created its first file.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function rewriteFile(path: string): Promise<void> {
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

/** Makes created, renamed and removed names durable. */
async function syncFolder(folder: string): Promise<void> {
  // Windows can't sync directories; NTFS journals names.
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

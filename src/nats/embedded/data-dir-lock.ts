/**
 * Locks a data directory, so only one service uses it.
 *
 * The lock is a listening Unix socket in the directory. The kernel closes it when its owner ends, even by `kill -9`, and every process on
 * the machine can probe it, even in another container that mounts the directory. (A PID file has neither property.)
 *
 * A dead owner leaves a socket that refuses connections. If starting services removed and recreated it, two of them could both succeed.
 * Therefore each owner has a generation: `owner.1.sock`, `owner.2.sock`, and so on. A service that finds the newest one dead claims the
 * next name with link(2), which only one can, and then removes the older ones. The newest name is never removed: a slow starter that
 * claims an old number sees the newer one when it checks again.
 *
 * Node has no Unix sockets on Windows. There the lock is a named pipe, whose name is derived from the directory's path. It disappears with
 * its owner, so listening on the name claims it.
 */
import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, realpath, rm, stat } from "node:fs/promises";
import type { Server } from "node:net";
import { dirname, join, resolve } from "node:path";
import { close, codeOf, inUse, listen, probe } from "./data-dir-owner.js";
import { StartError } from "../client/start-error.js";

export interface DataDirLock {
  /** The directory, absolute and without symbolic links. */
  readonly directory: string;
  release(): Promise<void>;
}

const NAME = /^owner\.(\d+)\.sock$/;
/** Attempts to claim a name. Each failed one means that another service made progress. */
const TRIES_MAX = 100;
/** The length of a socket's path in bytes: with the final NUL, Linux allows 108 and macOS 104. */
const SOCKET_PATH_BYTES_MAX = 100;

/**
 * Creates the directory if it does not exist, and locks it. Throws StartError, which names the directory and the owner's PID. `pipePathOf`:
 * returns the named pipe of a directory; undefined: use Unix sockets.
 */
export async function lockDataDir(
  dataDir: string,
  pipePathOf = process.platform === "win32" ? windowsPipePath : undefined,
): Promise<DataDirLock> {
  if (pipePathOf !== undefined) return lockByPipe(dataDir, pipePathOf);
  const { directory, handle } = await openDirectory(dataDir);
  const pathOf = (name: string): string => {
    const path = join(directory, name);
    // On Linux, the path through the open directory is always short.
    return Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX ? `/proc/self/fd/${handle.fd}/${name}` : path;
  };
  const newName = `owner.${randomBytes(8).toString("hex")}.new`;
  let server: Server | undefined;
  try {
    server = await listen(pathOf(newName));
    await claim(directory, newName, pathOf);
    await rm(join(directory, newName), { force: true });
  } catch (error) {
    if (server !== undefined) await close(server);
    await rm(join(directory, newName), { force: true });
    await handle.close();
    if (error instanceof StartError) throw error;
    throw unusable(dataDir, error);
  }
  const listening = server;
  return {
    directory,
    release: async () => {
      await close(listening);
      await handle.close();
    },
  };
}

/** The named pipe of a directory. Windows paths are case-insensitive. */
export function windowsPipePath(directory: string): string {
  const hash = createHash("sha256").update(directory.toLowerCase()).digest("hex");
  return `\\\\.\\pipe\\ironflow-kv-${hash}`;
}

async function lockByPipe(dataDir: string, pipePathOf: (directory: string) => string): Promise<DataDirLock> {
  let directory: string;
  try {
    directory = await createDirectory(dataDir);
  } catch (error) {
    throw unusable(dataDir, error);
  }
  const path = pipePathOf(directory);
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    try {
      const server = await listen(path);
      return { directory, release: () => close(server) };
    } catch (error) {
      if (codeOf(error) !== "EADDRINUSE") throw unusable(dataDir, error);
    }
    const owner = await probe(path);
    if (owner !== "dead") throw inUse(directory, owner.pid);
  }
  throw claimedByMany(directory);
}

/** Resolves with the path, absolute and without symbolic links. */
async function createDirectory(dataDir: string): Promise<string> {
  const missing: string[] = [];
  for (let folder = resolve(dataDir); !(await exists(folder)); folder = dirname(folder))
    missing.unshift(folder);
  // Not `recursive`: where a parent exists but cannot have folders, such as below /proc, Node's mkdir never returns.
  for (const folder of missing) await mkdirIfMissing(folder);
  if (!(await stat(dataDir)).isDirectory())
    throw Object.assign(new Error("not a directory"), { code: "ENOTDIR" });
  return realpath(dataDir);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

async function mkdirIfMissing(folder: string): Promise<void> {
  try {
    // Only this user may read what is stored.
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

async function openDirectory(dataDir: string): Promise<{ directory: string; handle: FileHandle }> {
  try {
    const directory = await createDirectory(dataDir);
    return { directory, handle: await open(directory, "r") };
  } catch (error) {
    throw unusable(dataDir, error);
  }
}

async function claim(directory: string, newName: string, pathOf: (name: string) => string): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const newest = Math.max(0, ...(await generations(directory)));
    const owner = newest === 0 ? "dead" : await probe(pathOf(nameOf(newest)));
    if (owner !== "dead") throw inUse(directory, owner.pid);
    const ours = newest + 1;
    if (!(await linkIfFree(join(directory, newName), join(directory, nameOf(ours))))) continue;
    const present = await generations(directory);
    if (present.some((generation) => generation > ours)) {
      await rm(join(directory, nameOf(ours)), { force: true });
      continue;
    }
    const older = present.filter((generation) => generation < ours);
    await Promise.all(older.map((generation) => rm(join(directory, nameOf(generation)), { force: true })));
    return;
  }
  throw claimedByMany(directory);
}

function claimedByMany(directory: string): StartError {
  return new StartError(
    `The data directory ${JSON.stringify(directory)} is being claimed by many services at once; start only one of them.`,
  );
}

function nameOf(generation: number): string {
  return `owner.${generation}.sock`;
}

async function generations(directory: string): Promise<readonly number[]> {
  const names = await readdir(directory);
  return names.flatMap((name) => {
    const found = NAME.exec(name);
    return found === null ? [] : [Number(found[1])];
  });
}

async function linkIfFree(existing: string, wanted: string): Promise<boolean> {
  try {
    await link(existing, wanted);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied, or its file system has no sockets and links",
  EROFS: "its file system is read-only",
  ENOSPC: "no space is left",
  ENOTDIR: "a part of its path is not a directory",
  EEXIST: "it is not a directory",
  ENAMETOOLONG: "its path is too long",
};

function unusable(dataDir: string, error: unknown): StartError {
  const code = codeOf(error) ?? "";
  const reason = REASONS[code] ?? (code === "" ? String(error) : code);
  return new StartError(
    `The data directory ${JSON.stringify(dataDir)} can't be used: ${reason}. Set DATA_DIR to a writable directory on a local disk.`,
    error,
  );
}

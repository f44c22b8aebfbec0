/**
 * Only one service may own a data directory.
 *
 * The lock is a listening Unix socket in the directory: the kernel closes it with its owner, also after `kill -9`, and it is seen by
 * every process on the machine, also from another container that mounts the same directory. (A pid in a file would be neither.)
 *
 * What a dead owner leaves behind is a socket that refuses connections. To remove it and make a new one in its place would let
 * two starters both win. So owners have generations instead, `owner.1.sock`, `owner.2.sock`, and so on: whoever finds the newest dead
 * claims the next name with link(2), which only one can, and only then removes the older ones. The newest name is never removed, so
 * that a slow starter can't claim a number that was used already without seeing a newer one when it looks again.
 *
 * Node has no Unix sockets on Windows. There the lock is a named pipe whose name is made from the directory's path: it vanishes with its
 * owner, so a name is claimed by listening on it.
 */
import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, realpath, rm } from "node:fs/promises";
import type { Server } from "node:net";
import { join } from "node:path";
import { close, codeOf, inUse, listen, probe } from "./data-dir-owner.js";
import { StartError } from "../client/start-error.js";

export interface DataDirLock {
  /** The directory, absolute and without symbolic links. */
  readonly directory: string;
  release(): Promise<void>;
}

const NAME = /^owner\.(\d+)\.sock$/;
/** Tries to claim a name while others claim theirs; each lost try means that someone else made progress. */
const TRIES_MAX = 100;
/** Bytes in the path of a socket: 108 with the closing NUL on Linux, 104 on macOS. */
const SOCKET_PATH_BYTES_MAX = 100;

/**
 * Makes the directory if there is none, and locks it. Throws StartError, which names the directory and the owner's pid. `pipePathOf`: the
 * named pipe of a directory, where named pipes are to be used.
 */
export async function lockDataDir(
  dataDir: string,
  pipePathOf = process.platform === "win32" ? windowsPipePath : undefined,
): Promise<DataDirLock> {
  if (pipePathOf !== undefined) return lockByPipe(dataDir, pipePathOf);
  const { directory, handle } = await openDirectory(dataDir);
  const pathOf = (name: string): string => {
    const path = join(directory, name);
    // Through the open directory every path is short, on Linux.
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

/** The pipe of a directory, whose path Windows compares without regard to case. */
export function windowsPipePath(directory: string): string {
  const hash = createHash("sha256").update(directory.toLowerCase()).digest("hex");
  return `\\\\.\\pipe\\ironflow-kv-${hash}`;
}

async function lockByPipe(dataDir: string, pipePathOf: (directory: string) => string): Promise<DataDirLock> {
  let directory: string;
  try {
    directory = await makeDirectory(dataDir);
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

/** Resolves with its path, absolute and without symbolic links. */
async function makeDirectory(dataDir: string): Promise<string> {
  // Only we need to see what users store.
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  return realpath(dataDir);
}

async function openDirectory(dataDir: string): Promise<{ directory: string; handle: FileHandle }> {
  try {
    const directory = await makeDirectory(dataDir);
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
    `The data directory ${JSON.stringify(directory)} is claimed by many services at once.`,
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
    `The data directory ${JSON.stringify(dataDir)} can't be used: ${reason}. Set DATA_DIR to a directory on a local disk that may be written to.`,
    error,
  );
}

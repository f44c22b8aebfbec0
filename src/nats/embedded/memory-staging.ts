/**
 * Staging of batches in memory: nats-server's folder for a batch (`getBatchStoreDir` in its source, 2.15.1) is a symbolic link into a file
 * system in memory. The server removes the link when the batch has ended. Where there is no link, it creates a folder on disk, which is
 * slower and as safe.
 */
import { createHash } from "node:crypto";
import type { Dirent } from "node:fs";
import { mkdir, readdir, rmdir, statfs, symlink, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { BatchStaging, StagedBatch } from "./batch-staging.js";
import { STORE_FOLDER, STREAMS_FOLDER } from "./server-config.js";
import { isStagingFolder, stagingFolderOf } from "./staging-folder.js";

/** The account that clients of the embedded server are in. */
const ACCOUNT = "$G";
const BATCHES_FOLDER = "batches";
/** What all batches may take at once. */
const STAGED_BYTES_MAX = 16 * 1_048_576;
/** Other programs may use the file system too, and a container often has only 64 MiB. */
const FREE_BYTES_MIN = 2 * STAGED_BYTES_MAX;
const FREE_AGAIN_MS = 1_000;
/** After so many batches in a row whose link the server left alone, it is another version, which stages elsewhere. */
const UNTOUCHED_MAX = 16;
/** A prepared batch is a folder and a link. */
const PREPARED_MAX = 1_000;

const HASH_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HASH_LENGTH = 8;

/** The staging of the embedded server, which runs. `setting` as in {@link stagingFolderOf}. Undefined: there is none. */
export async function memoryStaging(
  setting: string | undefined,
  dataDir: string,
): Promise<BatchStaging | undefined> {
  const folder = await stagingFolderOf(setting, dataDir);
  const exists = folder !== undefined && (await isStagingFolder(folder));
  return exists ? new MemoryStaging(folder, dataDir) : undefined;
}

class MemoryStaging implements BatchStaging {
  private heldBytes = 0;
  private prepared = 0;
  private hasRoom = Promise.resolve(false);
  private roomUntilMs = 0;
  private untouched = 0;

  /** `folder`: in memory, and exists. */
  constructor(
    private readonly folder: string,
    private readonly dataDir: string,
  ) {}

  async prepare(stream: string, id: string): Promise<StagedBatch | undefined> {
    if (this.untouched >= UNTOUCHED_MAX || this.prepared >= PREPARED_MAX || !(await this.isRoom()))
      return undefined;
    const target = join(this.folder, id);
    const batches = join(this.dataDir, STORE_FOLDER, ACCOUNT, STREAMS_FOLDER, stream, BATCHES_FOLDER);
    const link = join(batches, hashOf(id));
    this.prepared++;
    try {
      await mkdir(target, { mode: 0o700 });
      await linkTo(target, link, batches);
    } catch {
      // The stream was deleted, or the disk is full: the server does without.
      await this.remove(target);
      return undefined;
    }
    let bytes = 0;
    return {
      id,
      hold: (wanted) => {
        if (this.heldBytes + wanted > STAGED_BYTES_MAX) return false;
        this.heldBytes += wanted;
        bytes = wanted;
        return true;
      },
      release: async () => {
        this.heldBytes -= bytes;
        if (await this.remove(target)) this.untouched = 0;
        else if ((await removeLink(link)) && bytes > 0) this.untouched++;
      },
    };
  }

  /** Returns whether the server stored something there. */
  private async remove(target: string): Promise<boolean> {
    this.prepared--;
    return removeTree(target).catch(() => false);
  }

  private isRoom(): Promise<boolean> {
    const nowMs = performance.now();
    if (this.roomUntilMs > nowMs) return this.hasRoom;
    this.roomUntilMs = nowMs + FREE_AGAIN_MS;
    this.hasRoom = statfs(this.folder).then(
      ({ bavail, bsize }) => bavail * bsize >= FREE_BYTES_MIN,
      () => false,
    );
    return this.hasRoom;
  }
}

async function linkTo(target: string, link: string, folder: string): Promise<void> {
  try {
    await symlink(target, link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    // Not its parents: the stream may have been deleted.
    await mkdir(folder, { mode: 0o755 }).catch((problem: unknown) => {
      if ((problem as NodeJS.ErrnoException).code !== "EEXIST") throw problem;
    });
    await symlink(target, link);
  }
}

/** Returns whether it was there. */
async function removeLink(link: string): Promise<boolean> {
  return unlink(link).then(
    () => true,
    () => false,
  );
}

/** Removes a folder with what is in it; returns whether that was anything. `rm` of Node does the same with several times the work. */
async function removeTree(folder: string): Promise<boolean> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true });
  await Promise.all(
    entries.map((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? removeTree(path) : unlink(path);
    }),
  );
  await rmdir(folder);
  return entries.length > 0;
}

/** `getHash` in nats-server's source. */
function hashOf(id: string): string {
  const digest = createHash("sha256").update(id).digest().subarray(0, HASH_LENGTH);
  return Array.from(digest, (byte) => HASH_DIGITS[byte % HASH_DIGITS.length]).join("");
}

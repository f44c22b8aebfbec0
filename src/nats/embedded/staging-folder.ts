/** The folder in memory where the embedded nats-server stages the batches of one data directory. */
import { lstat, mkdir, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { EmbeddedLog } from "./embedded-nats.js";

/** A file system in memory, on Linux. */
const DEFAULT_PARENT = "/dev/shm";
const OFF = "off";

/**
 * `setting`: the folder to create it in, `off`, or undefined for the default. Undefined: batches are staged in the data directory. Unique to
 * the data directory, also among containers that share their memory.
 */
export async function stagingFolderOf(
  setting: string | undefined,
  dataDir: string,
): Promise<string | undefined> {
  if (setting === OFF || (setting === undefined && process.platform !== "linux")) return undefined;
  const { dev, ino } = await stat(dataDir, { bigint: true });
  return join(resolve(setting ?? DEFAULT_PARENT), `ironflow-kv-${dev.toString(36)}-${ino.toString(36)}`);
}

/** Creates the folder, empty. Undefined: batches are staged in the data directory. */
export async function createStagingFolder(
  setting: string | undefined,
  dataDir: string,
  log: EmbeddedLog,
): Promise<string | undefined> {
  const folder = await stagingFolderOf(setting, dataDir);
  if (folder === undefined) return undefined;
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    return folder;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const sentence = `Batches of writes are staged on disk, which is slower: ${reason}.`;
    if (setting === undefined) log.info(sentence);
    else log.warn(sentence);
    return undefined;
  }
}

/** Whether the folder exists, and belongs to this user. */
export async function isStagingFolder(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined);
  return found?.isDirectory() === true && found.uid === process.getuid?.();
}

export async function removeStagingFolder(folder: string | undefined): Promise<void> {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
}

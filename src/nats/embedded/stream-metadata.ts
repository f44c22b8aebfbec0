/**
 * Repairs the metadata of a stream whose change was interrupted.
 *
 * nats-server replaces `meta.inf`, a stream's configuration, and then `meta.sum`, its checksum (`fileStore.writeStreamMeta` in its source).
 * If it is killed, or the disk is full, between the two, its next start skips the stream, with all that it stores: only a line in the log
 * says so (`doStream` in server/jetstream.go). The new configuration is complete then, and only lacks its checksum.
 */
import { createHash } from "node:crypto";
import { open, readdir, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { StartError } from "../client/start-error.js";
import { highwayHash64 } from "./highway-hash.js";
import { STREAMS_FOLDER } from "./server-config.js";

/** Writes the checksums that are missing. No server is running on the store. Returns the names of the repaired streams. */
export async function repairStreamMetadata(store: string): Promise<readonly string[]> {
  const repaired: string[] = [];
  for (const account of await namesIn(store)) {
    const streams = join(store, account, STREAMS_FOLDER);
    for (const name of await namesIn(streams))
      if (await repair(join(streams, name), name)) repaired.push(name);
  }
  return repaired;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}

async function repair(folder: string, name: string): Promise<boolean> {
  const metadataFile = join(folder, "meta.inf");
  const checksumFile = join(folder, "meta.sum");
  try {
    const [changed, checked] = await Promise.all([stat(metadataFile), stat(checksumFile)]);
    // The checksum is written last. Metadata that is older and does not match is damaged, not interrupted.
    if (changed.mtimeMs <= checked.mtimeMs) return false;
    const metadata = await readFile(metadataFile);
    const checksum = highwayHash64(createHash("sha256").update(name).digest(), metadata);
    if (checksum === (await readFile(checksumFile, "utf8")) || nameIn(metadata) !== name) return false;
    await replace(checksumFile, checksum);
    return true;
  } catch (error) {
    // A stream that was being created or deleted has only some of its files.
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return false;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `The checksum of the stream ${name} is missing and can't be written: ${reason}.`,
      error,
    );
  }
}

function nameIn(metadata: Buffer): unknown {
  const parsed: unknown = JSON.parse(metadata.toString("utf8"));
  return typeof parsed === "object" && parsed !== null && "name" in parsed ? parsed.name : undefined;
}

async function replace(file: string, text: string): Promise<void> {
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, "w", 0o640);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

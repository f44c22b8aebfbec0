/** Reads files that settings name. Opening a FIFO or a device may never return, and neither can be read again when the file is polled. */
import { readFileSync, type Stats, statSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";

/** Throws Error for anything but a regular file, or a link to one. */
export async function readRegularFile(path: string): Promise<Buffer> {
  check(await stat(path));
  return await readFile(path);
}

/** See {@link readRegularFile}. */
export function readRegularFileSync(path: string): Buffer {
  check(statSync(path));
  return readFileSync(path);
}

function check(stats: Stats): void {
  if (!stats.isFile()) throw new Error("it is not a regular file");
}

/** A small disk of its own for a test: a tmpfs, which takes the right to mount. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  readonly folder: string;
  freeBytes(): number;
  /** Another program takes so much of it, or all that is left. */
  occupy(bytes?: number): void;
  /** Another program creates files until only so many inodes are free. Default: none. */
  occupyInodes(free?: number): void;
  /** These programs give it back. */
  vacate(): void;
  remove(): void;
}

const PIECE_BYTES = 1_048_576;

/** Whether this process may mount; says so on the console where it may not. */
export function canMount(): boolean {
  try {
    mountSmallDisk(PIECE_BYTES).remove();
    return true;
  } catch {
    console.log("Skipped: tests of a full disk mount a tmpfs, and this process may not mount.");
    return false;
  }
}

/** By default a disk has more inodes than a test needs. */
export function mountSmallDisk(bytes: number, inodes?: number): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), "ironflow-disk-"));
  try {
    const options = inodes === undefined ? `size=${bytes}` : `size=${bytes},nr_inodes=${inodes}`;
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { stdio: "ignore" });
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  const others = join(folder, "others");
  const otherFiles = join(folder, "other-files");
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  return {
    folder,
    freeBytes,
    occupy(most = Number.POSITIVE_INFINITY) {
      const file = openSync(others, "a");
      for (let left = most; left > 0;) {
        const piece = Math.min(left, PIECE_BYTES, freeBytes());
        if (piece === 0) break;
        try {
          left -= writeSync(file, Buffer.alloc(piece));
        } catch {
          // Someone else took the last of it.
          break;
        }
      }
      closeSync(file);
    },
    occupyInodes(free = 0) {
      mkdirSync(otherFiles, { recursive: true });
      for (let count = 0; statfsSync(folder).ffree > free; count++)
        closeSync(openSync(join(otherFiles, String(count)), "w"));
    },
    vacate() {
      rmSync(others, { force: true });
      rmSync(otherFiles, { recursive: true, force: true });
    },
    remove() {
      execFileSync("umount", ["-l", folder]);
      rmSync(folder, { recursive: true });
    },
  };
}

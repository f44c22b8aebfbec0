/**
 * Looks after the room on the disk of the embedded server. A nats-server that meets a full disk answers no write any more, and does not
 * recover when there is room again (2.14): so values are refused while less than a reserve is free. Reads, deletes and purges go on.
 */
import { statfs } from "node:fs/promises";
import type { Log } from "./log.js";

export interface DiskGuardOptions {
  /** A folder on the disk. */
  readonly folder: string;
  /** How much is to stay free, in bytes; of a small disk a tenth at most. 0: the disk is not looked at. */
  readonly reserveBytes: number;
  readonly log: Log;
}

/** Short, for a fast writer fills some ten megabytes meanwhile. */
const CHECK_INTERVAL_MS = 200;
const SHARE_MAX = 0.1;

export class DiskGuard {
  /** Whether there is room for values. */
  hasRoom = true;
  private timer: NodeJS.Timeout | undefined;

  private constructor(private readonly options: DiskGuardOptions) {}

  /** Starts looking; stop it when the server stops. */
  static async start(options: DiskGuardOptions): Promise<DiskGuard> {
    const guard = new DiskGuard(options);
    if (options.reserveBytes === 0) return guard;
    await guard.look();
    guard.timer = setInterval(() => void guard.look(), CHECK_INTERVAL_MS).unref();
    return guard;
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Never rejects: a disk that can't be asked is not taken for a full one. */
  private async look(): Promise<void> {
    const { folder, reserveBytes, log } = this.options;
    const disk = await statfs(folder).catch(() => undefined);
    if (disk === undefined) return;
    const freeBytes = disk.bavail * disk.bsize;
    const keepBytes = Math.min(reserveBytes, disk.blocks * disk.bsize * SHARE_MAX);
    const hasRoom = freeBytes >= keepBytes;
    if (hasRoom !== this.hasRoom) {
      const what = hasRoom
        ? "the disk has room again"
        : "the disk is nearly full: values are refused until there is room";
      log.warn({ folder, freeBytes, keepBytes }, what);
    }
    this.hasRoom = hasRoom;
  }
}

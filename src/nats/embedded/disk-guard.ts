/**
 * Keeps free space and inodes on the embedded server's disk. After a write to a full disk, nats-server 2.15 accepts no more writes until it is
 * restarted. So values are refused while less than a reserve is free. Reads continue; deletes and purges use the reserve.
 *
 * Between two checks of the disk, accepted bytes count as used: fast writers could fill any reserve before the next check.
 */
import { statfs } from "node:fs/promises";
import { KvError, type KvErrorDetails } from "../../kv/errors.js";
import type { Log } from "../client/log.js";

export interface DiskGuardOptions {
  /** A folder on the disk. */
  readonly folder: string;
  /** The space to keep free, in bytes, but at most a tenth of the disk. 0: the disk is not checked, nor its inodes. */
  readonly reserveBytes: number;
  /** Returns why the server must not be written to: its disk failed a write. Default: not known. */
  readonly problem?: (() => string | undefined) | undefined;
  /** The number of processes that write to the disk. Each may use its share of the space between two checks. Default: 1. */
  readonly writers?: number | undefined;
  readonly log: Log;
}

/** What a write stores. Values must not use the reserve; tombstones and the service's own records may. */
export type DiskUse = "value" | "record";

/** Admits writes if the disk has space. */
export interface DiskRoom {
  /** Runs a write that stores this many bytes. Throws like `check` if there is no space for them. */
  admit<Result>(
    use: DiskUse,
    bytes: number,
    about: KvErrorDetails,
    write: () => Promise<Result>,
  ): Promise<Result>;
  /**
   * Throws if an admitted write must not be sent again: `storage_exhausted` if the disk is full by now, `unavailable` if it failed a write.
   */
  check(use: DiskUse, about: KvErrorDetails): void;
  /** Whether values are admitted. */
  readonly hasRoom: boolean;
}

const CHECK_INTERVAL_MS = 200;
/** After this fraction of the reserve was admitted, the disk is checked early: other programs may fill it too. */
const EARLY_CHECK_FRACTION = 0.125;
/** The reserve is at most this fraction of the disk, and of its inodes. */
const DISK_FRACTION_MAX = 0.1;
/** The inodes to keep free. nats-server creates files for new buckets, for every few megabytes of values, at its start, and to replace files. */
const INODE_RESERVE = 256;
/** Values are admitted again when this fraction of the reserve is free in addition to it: hysteresis. */
const HYSTERESIS_FRACTION = 0.125;
/** Records are refused below this, or a quarter of the reserve, because the server itself needs space. */
const RECORD_RESERVE_BYTES = 1_048_576;
const RECORD_RESERVE_SHARE = 0.25;
/**
 * The bytes that JetStream stores for a message besides its subject and value: framing (nats-server, `fileStoreMsgSize`: 30 bytes),
 * headers, the marker of the replaced message and an index entry; rounded up.
 */
const MESSAGE_OVERHEAD_BYTES = 512;

/** The bytes that a message takes on disk, at most. */
export function storedBytes(subject: string, data: Uint8Array): number {
  return subject.length + data.length + MESSAGE_OVERHEAD_BYTES;
}

export class DiskGuard implements DiskRoom {
  hasRoom = true;
  freeBytes = Number.POSITIVE_INFINITY;
  /** The space to keep free. */
  keepBytes = 0;
  private freeInodes = Number.POSITIVE_INFINITY;
  private keepInodes = 0;
  /** The bytes of writes in flight. */
  private openBytes = 0;
  /** The bytes of writes that ended since the last check began. */
  private answeredBytes = 0;
  /** The bytes of writes that were admitted since the last check began. */
  private admittedBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private isChecking = false;

  private constructor(private readonly options: DiskGuardOptions) {}

  /** Starts the checks. Stop them when the server stops. */
  static async start(options: DiskGuardOptions): Promise<DiskGuard> {
    const guard = new DiskGuard(options);
    if (options.reserveBytes === 0) return guard;
    await guard.checkDisk();
    guard.timer = setInterval(() => void guard.checkDisk(), CHECK_INTERVAL_MS).unref();
    return guard;
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Refuses values until a check finds space. Called when the server reports a full disk. */
  reportFull(): void {
    if (this.timer !== undefined) this.setHasRoom(false);
  }

  async admit<Result>(
    use: DiskUse,
    bytes: number,
    about: KvErrorDetails,
    write: () => Promise<Result>,
  ): Promise<Result> {
    if (use === "value" && this.hasRoom && this.roomBytes < bytes) this.setHasRoom(false);
    this.check(use, about);
    this.openBytes += bytes;
    this.admittedBytes += bytes;
    if (this.timer !== undefined && this.admittedBytes > this.keepBytes * EARLY_CHECK_FRACTION)
      void this.checkDisk();
    try {
      return await write();
    } finally {
      this.openBytes -= bytes;
      this.answeredBytes += bytes;
    }
  }

  check(use: DiskUse, about: KvErrorDetails): void {
    if (this.options.problem?.() !== undefined) throw new KvError("unavailable", PROBLEM_SENTENCE, about);
    if (use === "value" && !this.hasRoom) throw exhausted(VALUE_SENTENCE, about);
    if (use === "record" && !this.hasRecordRoom) throw exhausted(RECORD_SENTENCE, about);
  }

  /** The bytes that this process may still write before the next check. */
  private get roomBytes(): number {
    return (
      (this.freeBytes - this.keepBytes) / (this.options.writers ?? 1) - this.openBytes - this.answeredBytes
    );
  }

  private get hasRecordRoom(): boolean {
    const keepBytes = Math.min(RECORD_RESERVE_BYTES, this.keepBytes * RECORD_RESERVE_SHARE);
    return this.freeBytes >= keepBytes && this.freeInodes >= this.keepInodes * RECORD_RESERVE_SHARE;
  }

  /** Reads the free space. Never rejects: a failed check does not count as a full disk. */
  private async checkDisk(): Promise<void> {
    if (this.isChecking) return;
    this.isChecking = true;
    const { folder, reserveBytes } = this.options;
    const { answeredBytes } = this;
    this.admittedBytes = 0;
    const disk = await statfs(folder).catch(() => undefined);
    this.isChecking = false;
    if (disk === undefined) return;
    this.answeredBytes -= answeredBytes;
    this.freeBytes = disk.bavail * disk.bsize;
    this.keepBytes = Math.min(reserveBytes, disk.blocks * disk.bsize * DISK_FRACTION_MAX);
    // Btrfs has no fixed number of inodes, and reports 0.
    this.freeInodes = disk.files === 0 ? Number.POSITIVE_INFINITY : disk.ffree;
    this.keepInodes = Math.min(INODE_RESERVE, disk.files * DISK_FRACTION_MAX);
    const factor = this.hasRoom ? 1 : 1 + HYSTERESIS_FRACTION;
    this.setHasRoom(this.freeBytes >= this.keepBytes * factor && this.freeInodes >= this.keepInodes * factor);
  }

  private setHasRoom(hasRoom: boolean): void {
    if (hasRoom === this.hasRoom) return;
    this.hasRoom = hasRoom;
    const { freeBytes, keepBytes, freeInodes, keepInodes } = this;
    const message = hasRoom
      ? "the disk has space again: values are accepted"
      : "the disk is nearly full: values are refused until space is freed";
    this.options.log.warn(
      { folder: this.options.folder, freeBytes, keepBytes, freeInodes, keepInodes },
      message,
    );
  }
}

/** For an external NATS server, whose disk is not visible from here: admits everything. */
export const UNKNOWN_DISK: DiskRoom = {
  hasRoom: true,
  admit: (_use, _bytes, _about, write) => write(),
  check: () => undefined,
};

const PROBLEM_SENTENCE = "The storage's disk failed a write; writes are refused until it recovers. Retry.";
const VALUE_SENTENCE =
  "The storage's disk is nearly full; values are refused until space is freed. Reads, deletes and purges still work.";
const RECORD_SENTENCE =
  "The storage's disk is full; writes are refused until space is freed. Reads still work.";

function exhausted(sentence: string, about: KvErrorDetails): KvError {
  return new KvError("storage_exhausted", sentence, about);
}

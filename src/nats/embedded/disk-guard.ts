/**
 * Keeps room on the disk of the embedded server. A nats-server that meets a full disk takes no write any more until it is restarted (2.15),
 * so values are refused while less than a reserve is free. Reads go on; deletes and purges use the reserve.
 *
 * Between two looks at the disk, what was accepted meanwhile counts as used: fast writers fill any reserve before the next look.
 */
import { statfs } from "node:fs/promises";
import { KvError, type KvErrorFacts } from "../../kv/errors.js";
import type { Log } from "../client/log.js";

export interface DiskGuardOptions {
  /** A folder on the disk. */
  readonly folder: string;
  /** How much is to stay free, in bytes; of a small disk a tenth at most. 0: the disk is not looked at. */
  readonly reserveBytes: number;
  /** Why the server must not be written to: its disk failed a write. Default: undefined, that can't be seen. */
  readonly problem?: (() => string | undefined) | undefined;
  /** Processes that write to the disk: each may take its share of the room between two looks. Default: 1. */
  readonly writers?: number | undefined;
  readonly log: Log;
}

/** What a write takes of the disk. Values leave the reserve alone; the service's own records and markers of deletes use it. */
export type DiskUse = "value" | "record";

/** Admits writes by the room that there is. */
export interface DiskRoom {
  /** Runs a write that stores so many bytes. Throws as `check` instead where there is no room for them. */
  admit<Result>(
    use: DiskUse,
    bytes: number,
    about: KvErrorFacts,
    write: () => Promise<Result>,
  ): Promise<Result>;
  /**
   * Throws where a write that was admitted must not be sent once more: `storage_exhausted` as the disk has filled meanwhile, `unavailable` as
   * it failed a write.
   */
  check(use: DiskUse, about: KvErrorFacts): void;
  /** Whether values are admitted. */
  readonly hasRoom: boolean;
}

const CHECK_INTERVAL_MS = 200;
/** The part of the reserve after whose acceptance the disk is looked at before its time: others may fill it too. */
const LOOK_SHARE = 0.125;
const SHARE_MAX = 0.1;
/** The part of the reserve that must be free again, on top of it, before values are admitted: no flapping. */
const BACK_SHARE = 0.125;
/** Records and markers are refused below this, or a quarter of the reserve: the server itself needs something to work with. */
const RECORD_RESERVE_BYTES = 1_048_576;
const RECORD_RESERVE_SHARE = 0.25;
/**
 * What JetStream stores of a message besides its subject and value (nats-server, `fileStoreMsgSize`: 30 bytes, and headers), the marker of
 * the message that it replaces, and the entry in the index: rounded up.
 */
const MESSAGE_OVERHEAD_BYTES = 512;

/** The bytes that a message takes on disk, at most. */
export function storedBytes(subject: string, data: Uint8Array): number {
  return subject.length + data.length + MESSAGE_OVERHEAD_BYTES;
}

export class DiskGuard implements DiskRoom {
  hasRoom = true;
  freeBytes = Number.POSITIVE_INFINITY;
  /** What is to stay free. */
  keepBytes = 0;
  /** Of writes that were admitted and are not answered. */
  private openBytes = 0;
  /** Of writes that were answered since the last look began. */
  private answeredBytes = 0;
  /** Of writes that were admitted since the last look began. */
  private admittedBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private isLooking = false;

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

  /** The server met a full disk: no value until a look finds room. */
  noteFull(): void {
    if (this.timer !== undefined) this.setHasRoom(false);
  }

  async admit<Result>(
    use: DiskUse,
    bytes: number,
    about: KvErrorFacts,
    write: () => Promise<Result>,
  ): Promise<Result> {
    if (use === "value" && this.hasRoom && this.roomBytes < bytes) this.setHasRoom(false);
    this.check(use, about);
    this.openBytes += bytes;
    this.admittedBytes += bytes;
    if (this.timer !== undefined && this.admittedBytes > this.keepBytes * LOOK_SHARE) void this.look();
    try {
      return await write();
    } finally {
      this.openBytes -= bytes;
      this.answeredBytes += bytes;
    }
  }

  check(use: DiskUse, about: KvErrorFacts): void {
    if (this.options.problem?.() !== undefined) throw new KvError("unavailable", PROBLEM_SENTENCE, about);
    if (use === "value" && !this.hasRoom) throw exhausted(VALUE_SENTENCE, about);
    if (use === "record" && this.freeBytes < this.recordKeepBytes) throw exhausted(RECORD_SENTENCE, about);
  }

  /** This process's share of what may be taken until the next look. */
  private get roomBytes(): number {
    return (
      (this.freeBytes - this.keepBytes) / (this.options.writers ?? 1) - this.openBytes - this.answeredBytes
    );
  }

  private get recordKeepBytes(): number {
    return Math.min(RECORD_RESERVE_BYTES, this.keepBytes * RECORD_RESERVE_SHARE);
  }

  /** Never rejects: a disk that can't be asked is not taken for a full one. */
  private async look(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    const { folder, reserveBytes } = this.options;
    const { answeredBytes } = this;
    this.admittedBytes = 0;
    const disk = await statfs(folder).catch(() => undefined);
    this.isLooking = false;
    if (disk === undefined) return;
    this.answeredBytes -= answeredBytes;
    this.freeBytes = disk.bavail * disk.bsize;
    this.keepBytes = Math.min(reserveBytes, disk.blocks * disk.bsize * SHARE_MAX);
    const neededBytes = this.hasRoom ? 0 : this.keepBytes * BACK_SHARE;
    this.setHasRoom(this.freeBytes - this.keepBytes >= neededBytes);
  }

  private setHasRoom(hasRoom: boolean): void {
    if (hasRoom === this.hasRoom) return;
    this.hasRoom = hasRoom;
    const { freeBytes, keepBytes } = this;
    const what = hasRoom
      ? "the disk has room again"
      : "the disk is nearly full: values are refused until there is room";
    this.options.log.warn({ folder: this.options.folder, freeBytes, keepBytes }, what);
  }
}

/** Where the disk can't be seen from here: everything is admitted. */
export const UNSEEN_DISK: DiskRoom = {
  hasRoom: true,
  admit: (_use, _bytes, _about, write) => write(),
  check: () => undefined,
};

const PROBLEM_SENTENCE = "The storage's disk failed a write: nothing is written until it answers. Try again.";
const VALUE_SENTENCE =
  "The storage's disk is nearly full: values are refused until there is room. Reads, deletes and purges go on.";
const RECORD_SENTENCE = "The storage's disk is full: nothing is written until there is room. Reads go on.";

function exhausted(sentence: string, about: KvErrorFacts): KvError {
  return new KvError("storage_exhausted", sentence, about);
}

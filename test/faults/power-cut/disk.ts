/** A mounted disk that forgets on command what was not synced, and fails on command. See README.md. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { powerCutProgram } from "./program.js";

export interface PowerCutDisk {
  /** Where it is mounted. */
  readonly directory: string;
  /** Drops everything that was not synced. Stop the processes that use the disk first: what they have open is stale then. */
  cut(): Promise<Dropped>;
  /** Fails each fsync and each write with O_SYNC; what it was to sync is lost at the next cut. */
  failSyncs(error: DiskError): Promise<Counts>;
  /** Fails each write, creation and extension. */
  failWrites(error: DiskError): Promise<Counts>;
  /** Ends the failures. */
  heal(): Promise<Counts>;
  counts(): Promise<Counts>;
  /** Unmounts it, even if it is in use, and drops everything. More than once is harmless. */
  unmount(): Promise<void>;
}

export type DiskModel = "posix" | "paths" | "journal";

export type DiskError = "EIO" | "ENOSPC";

/** What a cut took: files with unsynced contents, their unsynced bytes, and names that were not synced. */
export interface Dropped {
  readonly Files: number;
  readonly Bytes: number;
  readonly Names: number;
}

/** Since the mount. */
export interface Counts {
  readonly Syncs: number;
  readonly Writes: number;
  readonly FailedSyncs: number;
  readonly FailedWrites: number;
}

export interface DiskOptions {
  /** What makes names durable, see README.md. Default: `paths`. */
  readonly model?: DiskModel;
  /** The size in bytes that statfs reports. Default: 4 GiB. */
  readonly size?: number;
}

const run = promisify(execFile);

/** Why no such disk can be mounted here, in a sentence for a skipped test; undefined where one can. Builds the program. */
export async function diskProblem(): Promise<string | undefined> {
  const program = await powerCutProgram();
  return "problem" in program ? program.problem : undefined;
}

/** Mounts an empty disk at a directory, which is created where it is missing. It is unmounted when this process ends, in whatever way. */
export async function mountDisk(directory: string, options: DiskOptions = {}): Promise<PowerCutDisk> {
  const program = await powerCutProgram();
  if ("problem" in program) throw new Error(program.problem);
  await mkdir(directory, { recursive: true });
  const { model = "paths", size = 4 * 2 ** 30 } = options;
  const child = spawn(program.path, ["-model", model, "-size", String(size), directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const disk = new MountedDisk(directory, child);
  await disk.answer("ready");
  return disk;
}

class MountedDisk implements PowerCutDisk {
  private readonly waiting: ((line: string | undefined) => void)[] = [];
  private readonly ended: Promise<unknown>;

  constructor(
    readonly directory: string,
    private readonly child: ChildProcess,
  ) {
    this.ended = once(child, "exit");
    if (child.stdout === null) throw new Error("no output");
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => this.waiting.shift()?.(line));
    lines.on("close", () => {
      for (const resolve of this.waiting.splice(0)) resolve(undefined);
    });
  }

  cut = (): Promise<Dropped> => this.command("cut");
  failSyncs = (error: DiskError): Promise<Counts> => this.command(`fail-syncs ${error}`);
  failWrites = (error: DiskError): Promise<Counts> => this.command(`fail-writes ${error}`);
  heal = (): Promise<Counts> => this.command("heal");
  counts = (): Promise<Counts> => this.command("counts");

  /** The program's next line. */
  async answer(expected?: string): Promise<string> {
    const line = await new Promise<string | undefined>((resolve) => {
      this.waiting.push(resolve);
    });
    if (line === undefined) throw new Error("the power-cut file system ended");
    if (expected !== undefined && line !== expected) throw new Error(`expected ${expected}: ${line}`);
    return line;
  }

  async unmount(): Promise<void> {
    this.child.stdin?.end();
    await this.ended;
    // The program unmounts at its end; it can't where it was killed.
    const mounts = await readFile("/proc/self/mounts", "utf8");
    if (mounts.includes(` ${this.directory} fuse.power-cut `)) await run("umount", ["-l", this.directory]);
  }

  private async command<Answer>(text: string): Promise<Answer> {
    this.child.stdin?.write(`${text}\n`);
    const answer = JSON.parse(await this.answer()) as Answer & { error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }
}
